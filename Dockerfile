# syntax=docker/dockerfile:1
# Two images: scopeward, which is the default, and demo (--target demo), the
# demo's identity provider and upstream. Each is one static program and the
# certificates of public CAs, below another.
#
# GO_IMAGE is what builds them. A release names it by digest (.github/workflows/release.yaml),
# which its provenance records; nothing of it gets into the images but the certificates.
ARG GO_IMAGE=golang:1.26-bookworm
FROM --platform=$BUILDPLATFORM $GO_IMAGE AS build
ARG TARGETOS TARGETARCH
ENV CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH GOFLAGS="-trimpath -buildvcs=false"
WORKDIR /src

FROM build AS build-demo
RUN --mount=type=bind,target=. --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    go build -ldflags "-s -w" -o /bin/demo ./cmd/demo

# grpcnotrace leaves out gRPC's debug pages.
FROM build AS build-scopeward
ARG VERSION
RUN --mount=type=bind,target=. --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    go build -tags grpcnotrace -ldflags "-s -w -X main.release=$VERSION" -o /bin/scopeward ./cmd/scopeward

FROM scratch AS program
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
ENV PATH=/usr/local/bin
USER 65532:65532

FROM program AS demo
COPY --from=build-demo /bin/demo /usr/local/bin/
ENTRYPOINT ["demo"]

FROM program AS scopeward
ARG VERSION=unknown REVISION=unknown CREATED
LABEL org.opencontainers.image.title="Scopeward" \
      org.opencontainers.image.description="An Envoy external authorization service for OAuth scopes" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"
COPY --from=build-scopeward /bin/scopeward /usr/local/bin/
EXPOSE 9191 9192
HEALTHCHECK --interval=10s --timeout=3s --start-period=75s CMD ["scopeward", "healthcheck", "--config", "/etc/scopeward/scopeward.yaml"]
ENTRYPOINT ["scopeward"]
CMD ["serve", "--config", "/etc/scopeward/scopeward.yaml"]
