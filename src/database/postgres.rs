use std::env;

use secrecy::ExposeSecret;
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::address::{Endpoint, Server, Tls};

/// All from the URL: what the library would take from the environment is set here, or refused where it cannot be.
pub(crate) fn options(server: &Server) -> Result<PgConnectOptions, String> {
    let is_socket = matches!(server.endpoint, Endpoint::Socket { .. });
    let mode = match server.tls {
        Tls::Prefer if is_socket => PgSslMode::Disable,
        Tls::Off => PgSslMode::Disable,
        Tls::Prefer => PgSslMode::Prefer,
        Tls::Require => PgSslMode::Require,
        Tls::Authority => PgSslMode::VerifyCa,
        Tls::Full => PgSslMode::VerifyFull,
    };
    let needs_no_certificate = server.certificate.is_some() || matches!(mode, PgSslMode::Disable);
    for (name, is_taken) in [
        ("PGOPTIONS", true),
        ("PGSSLCERT", !needs_no_certificate),
        ("PGSSLKEY", !needs_no_certificate),
    ] {
        if is_taken && env::var_os(name).is_some() {
            return Err(format!(
                "the environment variable {name} is set, and the library would take it: unset it; the url says all that is needed"
            ));
        }
    }
    let password = server
        .password
        .as_ref()
        .map_or("", |password| password.expose_secret());
    let options = PgConnectOptions::new_without_pgpass()
        .username(&server.user)
        .password(password)
        .database(&server.database)
        .ssl_mode(mode)
        .application_name(env!("CARGO_PKG_NAME"))
        .extra_float_digits(None)
        .disable_statement_logging();
    let options = match &server.authorities {
        Some(path) => options.ssl_root_cert(path),
        None => options.ssl_root_cert_from_pem(Vec::new()),
    };
    let options = match &server.certificate {
        Some((certificate, key)) => options.ssl_client_cert(certificate).ssl_client_key(key),
        None => options,
    };
    Ok(match &server.endpoint {
        Endpoint::Tcp { host, port } => options.host(host).port(*port),
        Endpoint::Socket { path, port } => options.host("localhost").socket(path).port(*port),
    })
}
