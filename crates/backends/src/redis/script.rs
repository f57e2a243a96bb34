//! A script by its digest; a server that does not know it yet gets it whole, once.

use redis::aio::ConnectionLike;
use redis::{Cmd, FromRedisValue, RedisResult};

pub(super) struct Script {
    code: &'static str,
    digest: String,
}

impl Script {
    pub(super) fn new(code: &'static str) -> Self {
        Self { code, digest: redis::Script::new(code).get_hash().to_owned() }
    }

    /// `EVALSHA`, then `EVAL` on the node that has the keys: `SCRIPT LOAD` would need every node of a cluster.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        connection: &mut impl ConnectionLike,
        keys: &[&[u8]],
        args: impl Fn(&mut Cmd),
    ) -> RedisResult<T> {
        let call = |name: &str, script: &str| {
            let mut cmd = redis::cmd(name);
            cmd.arg(script).arg(keys.len());
            for key in keys {
                cmd.arg(*key);
            }
            args(&mut cmd);
            cmd
        };
        match call("EVALSHA", &self.digest).query_async(connection).await {
            Err(error) if error.code() == Some("NOSCRIPT") => call("EVAL", self.code).query_async(connection).await,
            answer => answer,
        }
    }
}
