//! Linker arguments that let N-API's symbols be resolved from the host process.

fn main() {
    napi_build::setup();
}
