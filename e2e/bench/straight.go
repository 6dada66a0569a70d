package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/proto"
)

// straight returns a load by h2load on the server itself, without Envoy between: two
// connections of 32 calls at a time.
func straight(dir, token string) (func(context.Context, *target, time.Duration) (result, error), error) {
	h2load, err := exec.LookPath("h2load")
	if err != nil {
		return nil, fmt.Errorf("h2load is missing (apt-get install nghttp2-client)")
	}
	message, err := proto.Marshal(&authv3.CheckRequest{Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{
		Http: &authv3.AttributeContext_HttpRequest{
			Id: "1", Method: "GET", Scheme: "http", Host: "127.0.0.1", Path: "/users", Protocol: "HTTP/1.1",
			Headers: map[string]string{":authority": "127.0.0.1", ":method": "GET", ":path": "/users", "authorization": "Bearer " + token},
		},
	}}})
	if err != nil {
		return nil, err
	}
	body := filepath.Join(dir, "check")
	frame := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
	if err := os.WriteFile(body, frame, 0o600); err != nil {
		return nil, err
	}
	return func(ctx context.Context, t *target, d time.Duration) (result, error) {
		out, err := exec.CommandContext(ctx, h2load, "-c2", "-m32", fmt.Sprintf("-D%d", max(1, int(d.Seconds()))), "-d", body,
			"-H", "content-type: application/grpc", "-H", "te: trailers",
			"http://"+t.grpc+authv3.Authorization_Check_FullMethodName).CombinedOutput()
		if err != nil {
			return result{}, fmt.Errorf("h2load: %w\n%s", err, out)
		}
		return straightResult(out)
	}, nil
}

// straightResult reads the output of h2load, which has the mean of the latencies only.
func straightResult(out []byte) (r result, err error) {
	if !regexp.MustCompile(`, 0 failed, 0 errored, 0 timeout`).Match(out) {
		return r, fmt.Errorf("calls failed:\n%s", out)
	}
	if r.requests, err = strconv.Atoi(found(out, `(\d+) succeeded`)); err != nil || r.requests == 0 {
		return r, fmt.Errorf("h2load's output can't be read:\n%s", out)
	}
	if r.rate, err = strconv.ParseFloat(found(out, `([\d.]+) req/s`), 64); err != nil {
		return r, err
	}
	r.p50, err = time.ParseDuration(found(out, `time for request:\s+\S+\s+\S+\s+(\S+)`))
	r.p99 = r.p50
	return r, err
}
