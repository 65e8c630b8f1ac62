# The hub as an image: one program on a base without a shell, as a user that is not root.
#
#   docker build --tag koh:0.1.0 .
#
# For another architecture build on a machine of it (.github/workflows/release.yaml does, and joins both into one name): the
# compiler takes half an hour of processor time, which emulation would make hours. tests/install/image.py checks what can be
# checked without Docker.

# The same Debian release as the base below, whose C library the program will find.
FROM rust:1.95.0-trixie AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /build

# Dependencies alone, in a layer that stays until Cargo.toml or Cargo.lock changes. Cargo wants every target that Cargo.toml names
# to be there.
COPY Cargo.toml Cargo.lock ./
RUN sed -n 's/^path = "\(.*\)"$/\1/p' Cargo.toml | while read -r file; do \
        mkdir -p "$(dirname "$file")" && echo 'fn main() {}' > "$file" || exit 1; \
    done \
    && cargo build --release --locked --bin koh

# What the hub is made of. Files of a checkout may be older than what was just built from the empty ones.
COPY src src
COPY schema schema
RUN find src -name '*.rs' -exec touch {} + \
    && cargo build --release --locked --bin koh \
    && mkdir -p /out/data \
    && cp target/release/koh /out/koh

# The program alone, for archives: docker build --target program --output out .
FROM scratch AS program
COPY --from=build /out/koh /koh

FROM gcr.io/distroless/cc-debian13:nonroot
LABEL org.opencontainers.image.title="Kalypso Observability Hub" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/koh /usr/local/bin/koh
# A volume that is mounted here gets its owner from this folder.
COPY --from=build --chown=65532:65532 /out/data /data
# Beyond loopback, since nobody would reach it otherwise: so it asks for KOH_TOKENS, or for KOH_INSECURE_NO_AUTH.
ENV KOH_DATA=/data KOH_LISTEN=0.0.0.0:8080
EXPOSE 8080
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/koh"]
CMD ["serve"]
