use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use stripe_propagate::engine::Settings;
use stripe_propagate::rules::moment::Moment;
use stripe_propagate::rules::outcome::{LookVerdict, Problem, PutVerdict};
use stripe_propagate::rules::retry::{Policy, Retry};
use stripe_propagate::site::Site;
use stripe_propagate::site_api::SiteApi;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::world::World;

/// A site that waits for its turn, or has one.
#[derive(Debug, Clone, Copy, Default)]
struct Visit {
    site: usize,
    /// PUTs so far.
    puts: u32,
    /// When its PUT was stored.
    stored: Option<Instant>,
    /// Looks behind the settle time that brought no answer.
    looks: u32,
    verified: bool,
}

/// What was before: so many slots in all and of each backend, a wait of its own for each site that failed, and
/// nothing else. Returns how many sites ended verified.
pub(crate) async fn push(world: Arc<World>, sites: Arc<[Site]>, settings: &Settings) -> usize {
    let visit = |site| Visit {
        site,
        ..Visit::default()
    };
    let mut ready: VecDeque<Visit> = (0..sites.len()).map(visit).collect();
    // Calls out, and who waits, by backend.
    let mut blocked: HashMap<Arc<str>, (usize, VecDeque<Visit>)> = HashMap::new();
    let (mut turns, mut waits, mut verified) = (JoinSet::new(), JoinSet::new(), 0);
    loop {
        while turns.len() < settings.concurrency
            && let Some(visit) = ready.pop_front()
        {
            let (out, others) = blocked.entry(Arc::clone(&sites[visit.site].backend)).or_default();
            if *out >= settings.per_backend {
                others.push_back(visit);
                continue;
            }
            *out += 1;
            let (world, sites, policy) = (Arc::clone(&world), Arc::clone(&sites), settings.policy.clone());
            turns.spawn(async move { turn(&world, &sites[visit.site], visit, &policy).await });
        }
        tokio::select! {
            Some(Ok((visit, wait))) = turns.join_next(), if !turns.is_empty() => {
                let (out, others) = blocked.entry(Arc::clone(&sites[visit.site].backend)).or_default();
                *out -= 1;
                others.pop_front().into_iter().for_each(|other| ready.push_front(other));
                verified += usize::from(visit.verified);
                if let Some(wait) = wait {
                    waits.spawn(async move { tokio::time::sleep(wait).await; visit });
                }
            }
            Some(Ok(visit)) = waits.join_next(), if !waits.is_empty() => ready.push_back(visit),
            else => return verified,
        }
    }
}

/// The calls that a site makes in one slot. Returns when it wants to come back, if it does.
async fn turn(world: &World, site: &Site, mut visit: Visit, policy: &Policy) -> (Visit, Option<Duration>) {
    let Some(stored) = visit.stored else {
        return first_turn(world, site, visit, policy).await;
    };
    let seen = world.look(site, policy.timeout, true).await;
    let passed = stored.elapsed();
    let wait = match seen.verdict {
        LookVerdict::Serves(key) if key == *world.new_key() => {
            visit.verified = passed >= policy.settle;
            (!visit.verified).then(|| policy.settle.saturating_sub(passed))
        }
        _ if passed < policy.settle => Some(next_look(passed, policy)),
        LookVerdict::Problem(problem) => {
            visit.looks += 1;
            again(problem, visit.looks, seen.retry_after, policy)
        }
        _ => None,
    };
    (visit, wait)
}

/// The look before the PUT, the PUT and the look behind it.
async fn first_turn(
    world: &World,
    site: &Site,
    mut visit: Visit,
    policy: &Policy,
) -> (Visit, Option<Duration>) {
    if visit.puts == 0 {
        let before = world.look(site, policy.look_before_limit(), false).await;
        if let LookVerdict::Problem(Problem::RateLimited | Problem::Unavailable) = before.verdict
            && let Retry::After(wait) = policy.retry(0, before.retry_after, fastrand::f64())
        {
            return (visit, Some(wait));
        }
    }
    visit.puts += 1;
    let answer = world.put(site, world.new_key()).await;
    match answer.verdict {
        PutVerdict::Problem(problem) => (visit, again(problem, visit.puts, answer.retry_after, policy)),
        PutVerdict::Stored => {
            visit.stored = Some(Instant::now());
            Box::pin(turn(world, site, visit, policy)).await
        }
    }
}

fn again(problem: Problem, made: u32, retry_after: Option<Duration>, policy: &Policy) -> Option<Duration> {
    match policy.retry(made, retry_after, fastrand::f64()) {
        Retry::After(wait) if problem.row().retried => Some(wait),
        _ => None,
    }
}

/// How long it is until a settling site is looked at again, so long after its PUT.
fn next_look(passed: Duration, policy: &Policy) -> Duration {
    let at = |since_start| Moment {
        since_start,
        wall: jiff::Timestamp::UNIX_EPOCH,
    };
    let next = Policy::next_settling_look(at(Duration::ZERO), at(policy.settle), at(passed));
    next.since_start.saturating_sub(passed)
}
