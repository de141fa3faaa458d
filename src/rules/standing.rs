use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::text::CleanText;

/// What Stripe says of a publishable key (contract.md, "Stripe itself").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It is a key.
    Known,
    /// There is no such key: mistyped, cut off, or of another environment.
    Unknown,
    /// It was rolled.
    Expired,
}

impl Standing {
    /// Whether no shop that serves the key can take a payment.
    pub fn is_dead(self) -> bool {
        self != Self::Known
    }

    /// What stands beside a key.
    pub fn verdict(self) -> &'static str {
        match self {
            Self::Known => "✓ Stripe knows it",
            Self::Unknown => "✗ Stripe does not know it: mistyped, cut off?",
            Self::Expired => "✗ expired: it was rolled",
        }
    }

    /// What is said of a key, behind its mask: `pk_live_…AbCd is …`.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Known => "is known to Stripe",
            Self::Unknown => "is not known to Stripe: mistyped, cut off, or of another environment",
            Self::Expired => {
                "has expired, as Stripe says: it was rolled, and shops that serve it take no payments"
            }
        }
    }
}

/// Stripe could not be asked of a key: a remark, never a stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotAsked {
    /// Why, cleaned: it may quote an answer.
    pub why: CleanText,
}

impl NotAsked {
    /// For this reason.
    pub fn because(why: &str) -> Self {
        Self {
            why: CleanText::note(why),
        }
    }
}

impl std::fmt::Display for NotAsked {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Stripe could not be asked: {}", self.why)
    }
}

/// What came of asking Stripe.
pub type Asked = Result<Standing, NotAsked>;

/// What Stripe's answer means: its `code` and `message` tell, not its status, which has changed over the years.
///
/// # Errors
/// Where it says nothing of the key.
pub fn judge(status: u16, body: &[u8]) -> Asked {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = answer.get("error").unwrap_or(&Value::Null);
    let text = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
    match text("code") {
        "secret_key_required" => Ok(Standing::Known),
        "api_key_expired" => Ok(Standing::Expired),
        _ if text("message").starts_with("Invalid API Key provided") => Ok(Standing::Unknown),
        _ => Err(NotAsked::because(&format!(
            "it answered {status}, which says nothing of the key"
        ))),
    }
}

/// What for it is asked, which decides how old an answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The key that is to be pushed.
    Push,
    /// A key that the fleet serves.
    Fleet,
}

impl Purpose {
    /// How long an answer holds.
    pub fn holds_for(self, asked: &Asked) -> Duration {
        match (asked, self) {
            (Ok(_), Self::Push) => Duration::from_hours(1),
            (Ok(_), Self::Fleet) => Duration::from_hours(24),
            (Err(_), _) => Duration::from_mins(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, error: &Value) -> Asked {
        judge(
            status,
            serde_json::json!({ "error": error }).to_string().as_bytes(),
        )
    }

    #[test]
    fn code_and_message_tell_and_the_status_does_not() {
        let invalid = serde_json::json!({
            "message": "Invalid API Key provided: pk_live_*******AbCd",
            "type": "invalid_request_error",
        });
        for status in [200, 401, 403, 500] {
            let code = |code: &str| of(status, &serde_json::json!({ "code": code, "message": "…" }));
            assert_eq!(code("secret_key_required"), Ok(Standing::Known));
            assert_eq!(code("api_key_expired"), Ok(Standing::Expired));
            assert_eq!(of(status, &invalid), Ok(Standing::Unknown));
            assert!(code("rate_limit").is_err());
        }
    }

    #[test]
    fn what_is_not_stripes_answer_says_nothing_of_the_key() {
        for body in [
            "",
            "<html>please log in</html>",
            "[]",
            r#"{"error": "secret_key_required"}"#,
            r#"{"code": "secret_key_required"}"#,
            r#"{"error": {"message": "the proxy says: Invalid API Key provided"}}"#,
        ] {
            let asked = judge(403, body.as_bytes());
            assert_eq!(
                asked.unwrap_err().to_string(),
                "Stripe could not be asked: it answered 403, which says nothing of the key",
                "{body}"
            );
        }
    }

    #[test]
    fn an_answer_holds_an_hour_for_a_push_a_day_for_the_fleet_and_none_a_minute() {
        let failed = Err(NotAsked::because("no way out"));
        for (purpose, hours) in [(Purpose::Push, 1), (Purpose::Fleet, 24)] {
            for standing in [Standing::Known, Standing::Unknown, Standing::Expired] {
                assert_eq!(purpose.holds_for(&Ok(standing)), Duration::from_hours(hours));
            }
            assert_eq!(purpose.holds_for(&failed), Duration::from_mins(1));
        }
    }
}
