use super::*;
pub(super) struct Engine<Api, Db> {
    _a: std::marker::PhantomData<(Api, Db)>,
}
impl<Api: SiteApi, Db: Store> Engine<Api, Db> {
    pub(super) fn new(
        _sites: Arc<[Site]>,
        _known: Vec<SiteState>,
        _api: Arc<Api>,
        _store: Arc<Db>,
        _settings: Settings,
        _clock: Clock,
        _events: mpsc::UnboundedSender<Event>,
    ) -> Self {
        Self {
            _a: std::marker::PhantomData,
        }
    }
    pub(super) async fn run(self, _orders: mpsc::UnboundedReceiver<Command>) {}
}
