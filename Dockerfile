# The image has the binary and the certificates of public authorities, and nothing else: no shell, no libc.
# `.ci/release` writes a Dockerfile whose base has its digest. To renew it by hand:
# skopeo inspect --format '{{.Digest}}' docker://docker.io/library/rust:1.90-bookworm
ARG BASE=rust:1.90-bookworm
FROM ${BASE} AS build
WORKDIR /src
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# Dependencies first: they are built again only when Cargo.lock changes.
COPY Cargo.toml Cargo.lock ./
COPY loadtest/Cargo.toml loadtest/
RUN mkdir -p src loadtest/src \
    && echo 'fn main() {}' | tee src/main.rs loadtest/src/main.rs >/dev/null \
    && touch src/lib.rs
# Linked statically (glibc's own name resolution included), so that the last stage needs no library. Without features:
# the screen of `fantail top` is for people's own terminals, and `fantail top --once` needs none.
ENV RUSTFLAGS="-C target-feature=+crt-static" \
    CARGO_PROFILE_RELEASE_STRIP=debuginfo
RUN cargo build --release --locked --no-default-features --bin fantail --target "$(rustc -vV | sed -n 's/^host: //p')"
COPY src src
RUN touch src/main.rs src/lib.rs \
    && cargo build --release --locked --no-default-features --bin fantail --target "$(rustc -vV | sed -n 's/^host: //p')" \
    && mkdir -p /image/etc/ssl/certs \
    && mv "target/$(rustc -vV | sed -n 's/^host: //p')/release/fantail" /image/fantail \
    && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Fantail" \
      org.opencontainers.image.description="A node of a Server-Sent-Events cluster on Redis Streams" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /image /
USER 65532:65532
# The allocator's: without it the node begins itself anew to set it.
ENV FANTAIL_LISTEN=0.0.0.0:8080 \
    FANTAIL_ADMIN_LISTEN=0.0.0.0:9090 \
    MIMALLOC_PURGE_DELAY=0
EXPOSE 8080 9090
# The node drains on it; a second one hurries.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s CMD ["/fantail", "check", "--live"]
ENTRYPOINT ["/fantail"]
