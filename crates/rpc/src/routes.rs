//! Which service answers a path.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// A service, behind its name.
type Route = (&'static str, Box<dyn Fn(Request<Incoming>) -> Answer + Send + Sync>);

/// The services of one port. A handful: compared one by one, those asked most first.
#[derive(Default)]
pub(crate) struct Routes(Vec<Route>);

impl Routes {
    pub(crate) fn add<S>(&mut self, service: S)
    where
        S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>,
        S: NamedService + Clone + Send + Sync + 'static,
    {
        // Services of gRPC are always ready.
        let call = move |request| Box::pin(service.clone().call(request)) as Answer;
        self.0.push((S::NAME, Box::new(call)));
    }

    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.0.iter().map(|(name, _)| *name).collect()
    }

    fn find(&self, path: &str) -> Option<&Route> {
        let name = path.strip_prefix('/')?.split('/').next()?;
        self.0.iter().find(|(known, _)| *known == name)
    }
}

/// What each connection holds.
#[derive(Clone)]
pub(crate) struct Shared(pub(crate) Arc<Routes>);

impl hyper::service::Service<Request<Incoming>> for Shared {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        match self.0.find(request.uri().path()) {
            Some((_, call)) => call(request),
            None => Box::pin(std::future::ready(Ok(Status::unimplemented("there is no such service on this port").into_http()))),
        }
    }
}
