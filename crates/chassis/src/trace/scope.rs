//! The request that this thread works on: whatever is logged, asked of a store or sent to another process
//! meanwhile belongs to it. It is set while the request's future is polled, and follows it from thread to thread.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::pin::pin;

use super::TraceContext;
use crate::RequestId;

thread_local! {
    static TRACE: Cell<Option<TraceContext>> = const { Cell::new(None) };
    static REQUEST: Cell<Option<RequestId>> = const { Cell::new(None) };
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// The innermost span under way.
    pub trace: Option<TraceContext>,
    pub request: Option<RequestId>,
}

/// Where this thread is now.
pub fn current() -> Scope {
    Scope { trace: TRACE.get(), request: REQUEST.get() }
}

/// The innermost span, if all of its trace is kept. Costs a look at a thread's own memory.
#[inline]
pub fn sampled() -> Option<TraceContext> {
    TRACE.get().filter(|context| context.is_sampled())
}

/// Does `work` in `scope`.
pub fn within<T>(scope: Scope, work: impl FnOnce() -> T) -> T {
    let _entered = Entered::new(scope);
    work()
}

/// The same for what takes its time.
pub async fn in_scope<T>(scope: Scope, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(move |cx| {
        let _entered = Entered::new(scope);
        work.as_mut().poll(cx)
    })
    .await
}

/// Goes back to the scope before, even after a panic.
struct Entered {
    before: Scope,
    /// It must end on the thread where it began.
    _here: PhantomData<*const ()>,
}

impl Entered {
    fn new(scope: Scope) -> Self {
        Self { before: Scope { trace: TRACE.replace(scope.trace), request: REQUEST.replace(scope.request) }, _here: PhantomData }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        TRACE.set(self.before.trace);
        REQUEST.set(self.before.request);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::task::Poll;

    use super::*;

    fn scope(name: &[u8]) -> Scope {
        Scope { trace: Some(TraceContext::root(true)), request: RequestId::parse(name) }
    }

    #[test]
    fn scopes_nest_and_end_with_their_work_however_it_ends() {
        let (outer, inner) = (scope(b"outer-request"), scope(b"inner-request"));
        within(outer, || {
            within(inner, || assert_eq!(current(), inner));
            assert_eq!(current(), outer);
            let panicked = catch_unwind(AssertUnwindSafe(|| within(inner, || panic!("as it must"))));
            assert!(panicked.is_err());
            assert_eq!(current(), outer);
        });
        assert_eq!(current(), Scope::default());
    }

    #[tokio::test]
    async fn a_future_is_in_its_scope_while_it_is_polled_and_only_then() {
        let mine = scope(b"my-request");
        let polled = Cell::new(0);
        let work = in_scope(
            mine,
            poll_fn(|cx| {
                assert_eq!(current(), mine);
                polled.set(polled.get() + 1);
                cx.waker().wake_by_ref();
                if polled.get() < 3 { Poll::Pending } else { Poll::Ready(()) }
            }),
        );
        let mut work = Box::pin(work);
        poll_fn(|cx| {
            let ready = work.as_mut().poll(cx);
            assert_eq!(current(), Scope::default());
            ready
        })
        .await;
        assert_eq!(polled.get(), 3);
    }
}
