//! A service knows which request it works for: what it logs, and what it asks of others, says so.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chassis::RequestId;
use chassis::trace::{Scope, TraceContext, current, in_scope};
use domain::Result;
use domain::api::{Answer, Ask, Deadline, Resolver};
use rpc::{ResolverOptions, Services};

use crate::fakes::ask;
use crate::port::{Port, soon};

/// Notes for whom it works; knows nothing from memory.
#[derive(Default)]
struct Noting(Mutex<Vec<(&'static str, Scope)>>);

impl Noting {
    fn note(&self, method: &'static str) {
        self.0.lock().unwrap().push((method, current()));
    }
}

#[async_trait]
impl Resolver for Noting {
    fn try_resolve(&self, _: &Ask<'_>) -> Option<Answer> {
        self.note("try_resolve");
        None
    }

    fn begin(&self, _: &Ask<'_>) {
        self.note("begin");
    }

    async fn resolve(&self, _: &Ask<'_>, _: Deadline) -> Result<Answer> {
        // On whatever thread it goes on.
        tokio::task::yield_now().await;
        self.note("resolve");
        Ok(Answer::NotFound)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_works_in_the_scope_of_its_caller() {
    let noting = Arc::new(Noting::default());
    let port = Port::open(Services::default().resolver(noting.clone())).await;
    let client = port.resolver(ResolverOptions::default());
    let request = RequestId::parse(b"a-request");
    for sampled in [true, false] {
        let trace = TraceContext::new(1, 2, sampled);
        let answer = in_scope(Scope { trace, request }, client.resolve(&ask("any"), soon())).await;
        assert_eq!(answer.unwrap(), Answer::NotFound);
        let noted = std::mem::take(&mut *noting.0.lock().unwrap());
        // In a batch only what is kept says so: the others are too many.
        let in_batch = Scope { trace: trace.filter(|_| sampled), request: None };
        let alone = Scope { trace, request };
        assert_eq!(noted, [("try_resolve", in_batch), ("begin", in_batch), ("try_resolve", alone), ("resolve", alone)]);
    }
    let answer = client.resolve(&ask("any"), soon()).await;
    assert_eq!(answer.unwrap(), Answer::NotFound);
    assert!(noting.0.lock().unwrap().iter().all(|(_, scope)| *scope == Scope::default()), "nobody's request is nobody's");
}
