//! The `koh` binary: an allocator, a TLS provider, and the command line of the library.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    // The only provider in the binary; a second installation cannot happen, so its failure is of no interest.
    let _ = rustls::crypto::ring::default_provider().install_default();
    koh::cli::main()
}
