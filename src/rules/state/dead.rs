use super::{Facts, Phase};
use crate::rules::standing::Standing;
use crate::rules::status::Verify;

impl Facts {
    /// What VERIFY is without what Stripe says of the key.
    pub fn verify_besides(&self) -> Verify {
        match self.verify {
            Verify::DeadKey => self.besides.unwrap_or(Verify::Seen),
            verify => verify,
        }
    }

    /// Takes in what Stripe says of the key that the site serves; none where it has not said anything now, so that what
    /// it said before of that key counts. Whether that changes
    /// what is said of the site.
    ///
    /// Only what rests is called dead: what settles or serves goes on to do so, and so does everything else that is
    /// to come. What is called dead is as it was before, as soon as Stripe knows the key, or another one is served.
    pub fn take_standing(&mut self, standing: Option<Standing>) -> bool {
        let before = self.said();
        let served = self.now.key();
        self.dead = match standing {
            Some(standing) => served.map(|key| (key.clone(), standing)),
            None => self.dead.take().filter(|(key, _)| Some(key) == served),
        };
        self.dead.take_if(|(_, standing)| !standing.is_dead());
        let besides = self.verify_besides();
        let may_be = matches!(
            besides,
            Verify::Seen | Verify::Verified | Verify::Mismatch | Verify::Drifted
        );
        let rests = self.verify == Verify::DeadKey || self.phase == Phase::Rest;
        let is_dead = self.dead.is_some() && !self.unanswered && may_be && rests;
        self.besides = is_dead.then_some(besides);
        self.verify = if is_dead { Verify::DeadKey } else { besides };
        self.said() != before
    }

    fn said(&self) -> (Verify, Option<Standing>) {
        let is_called_dead = self.verify == Verify::DeadKey;
        let dead = self.dead.as_ref().filter(|_| is_called_dead);
        (self.verify, dead.map(|(_, standing)| *standing))
    }
}
