use super::{Phase, Served, SiteState};
use crate::rules::standing::Standing;
use crate::rules::status::Verify;

impl SiteState {
    /// What VERIFY is without what Stripe says of the key.
    pub fn verify_besides(&self) -> Verify {
        match self.verify {
            Verify::DeadKey => self.besides.unwrap_or(Verify::Seen),
            verify => verify,
        }
    }

    /// Takes in what Stripe says of the key that the site serves; none where that is not known. Whether that
    /// changes anything.
    ///
    /// Only what rests is called dead: what settles or serves goes on to do so, and so does everything else that is
    /// to come. What is called dead is as it was before, as soon as it is not so any more.
    pub fn take_standing(&mut self, standing: Option<Standing>) -> bool {
        let before = self.said();
        let dead = standing
            .filter(|standing| standing.is_dead() && matches!(self.now, Served::Key(_)) && !self.unanswered);
        let besides = self.verify_besides();
        let is_called_dead = self.verify == Verify::DeadKey;
        let may_be = matches!(
            besides,
            Verify::Seen | Verify::Verified | Verify::Mismatch | Verify::Drifted
        );
        if dead.is_some() && may_be && (is_called_dead || self.phase == Phase::Rest) {
            self.verify = Verify::DeadKey;
            self.besides = Some(besides);
            self.dead = dead;
        } else {
            self.verify = besides;
            self.besides = None;
            self.dead = None;
        }
        self.said() != before
    }

    fn said(&self) -> (Verify, Option<Standing>) {
        let is_called_dead = self.verify == Verify::DeadKey;
        (self.verify, self.dead.filter(|_| is_called_dead))
    }
}
