//! What a port tells of itself to tools that bring no `.proto` files: its own services, and the messages of all.

use std::io;

use tonic_reflection::server::{Builder, Error};

use crate::proto;
use crate::routes::Routes;

const V1: &str = "grpc.reflection.v1.ServerReflection";
/// What tools older than v1 ask for.
const V1_ALPHA: &str = "grpc.reflection.v1alpha.ServerReflection";

/// Adds reflection to the services of a port, of which it is the last.
///
/// # Errors
/// The descriptions are broken.
pub(crate) fn add(routes: &mut Routes) -> io::Result<()> {
    let mut names = routes.names();
    names.extend([V1, V1_ALPHA]);
    let broken = |error: Error| io::Error::other(format!("the services' descriptions are broken: {error}"));
    routes.add(builder(&names).build_v1().map_err(broken)?);
    routes.add(builder(&names).build_v1alpha().map_err(broken)?);
    Ok(())
}

fn builder(names: &[&str]) -> Builder<'static> {
    let builder = Builder::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        // With these, tools can show why a call failed.
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET);
    names.iter().fold(builder, |builder, name| builder.with_service_name(*name))
}
