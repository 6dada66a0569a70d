package e2e

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// object reads one object of our manifests.
func object(t *testing.T, file string) map[string]any {
	t.Helper()
	var o map[string]any
	decode(t, "../envoy/"+file, &o)
	return o
}

// field follows a dotted path of keys and indexes; nil is nowhere.
func field(node any, path string) any {
	for step := range strings.SplitSeq(path, ".") {
		switch n := node.(type) {
		case map[string]any:
			node = n[step]
		case []any:
			if i, err := strconv.Atoi(step); err == nil && i < len(n) {
				node = n[i]
				continue
			}
			return nil
		default:
			return nil
		}
	}
	return node
}

// hold compares fields of an object with what they must be.
func hold(t *testing.T, file string, o any, want map[string]any) {
	t.Helper()
	for _, path := range slices.Sorted(maps.Keys(want)) {
		if got := field(o, path); !reflect.DeepEqual(got, want[path]) {
			t.Errorf("envoy/%s: %s is %v, want %v", file, path, got, want[path])
		}
	}
}

// TestPod: it passes the restricted Pod Security Standard
// (https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted),
// has no token, is asked for its health on the port that counts, and ends in time.
func TestPod(t *testing.T) {
	t.Parallel()
	const file = "kubernetes/base/deployment.yaml"
	d := object(t, file)
	pod := field(d, "spec.template.spec")
	container := field(pod, "containers.0")
	hold(t, file, pod, map[string]any{
		"automountServiceAccountToken":        false,
		"securityContext.runAsNonRoot":        true,
		"securityContext.seccompProfile.type": "RuntimeDefault",
		"hostNetwork":                         nil,
		"containers.1":                        nil,
		"initContainers":                      nil,
		"priorityClassName":                   "scopeward",
		// Two replicas on one host are one.
		"topologySpreadConstraints.1.topologyKey":       "kubernetes.io/hostname",
		"topologySpreadConstraints.1.whenUnsatisfiable": "DoNotSchedule",
		"topologySpreadConstraints.1.nodeTaintsPolicy":  "Honor",
	})
	hold(t, file, container, map[string]any{
		"securityContext":             map[string]any{"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": map[string]any{"drop": []any{"ALL"}}},
		"startupProbe.httpGet":        map[string]any{"path": "/healthz", "port": "admin"}, // a restart brings no keys
		"readinessProbe.grpc.port":    9191,
		"livenessProbe.httpGet":       map[string]any{"path": "/healthz", "port": "admin"}, // whatever clients do to the other port
		"resources.limits.cpu":        nil,                                                 // throttling is latency
		"resources.limits.memory":     field(container, "resources.requests.memory"),
		"ports.0":                     map[string]any{"name": "grpc", "containerPort": 9191},
		"ports.1":                     map[string]any{"name": "admin", "containerPort": 9192},
		"volumeMounts.0.subPath":      nil,
		"volumeMounts.1.subPath":      nil,
		"envFrom.0.configMapRef.name": "scopeward-provider",
		"args":                        []any{"serve", "--config", "/etc/scopeward/config/scopeward.yaml"},
		"volumeMounts.0.mountPath":    "/etc/scopeward/config",
		"volumeMounts.1.mountPath":    "/etc/scopeward/secrets",
	})
	hold(t, file, d, map[string]any{"spec.replicas": nil}) // the autoscaler's
	const ends = 10 + 5                                    // Scopeward by itself, and to spare
	before, grace := field(container, "lifecycle.preStop.sleep.seconds"), field(pod, "terminationGracePeriodSeconds")
	if grace.(int) < before.(int)+ends {
		t.Errorf("terminationGracePeriodSeconds is %v, want at least %v + %d", grace, before, ends)
	}
	hold(t, "kubernetes/base/serviceaccount.yaml", object(t, "kubernetes/base/serviceaccount.yaml"), map[string]any{"automountServiceAccountToken": false})
	hold(t, "kubernetes/base/namespace.yaml", object(t, "kubernetes/base/namespace.yaml"),
		map[string]any{"metadata.labels": map[string]any{"pod-security.kubernetes.io/enforce": "restricted"}})
}

// TestSelectors: what selects the pods selects them.
func TestSelectors(t *testing.T) {
	t.Parallel()
	labels := field(object(t, "kubernetes/base/deployment.yaml"), "spec.template.metadata.labels")
	if labels == nil {
		t.Fatal("the pods have no labels")
	}
	for file, paths := range map[string][]string{
		"kubernetes/base/deployment.yaml": {"spec.selector.matchLabels", "spec.template.spec.topologySpreadConstraints.0.labelSelector.matchLabels",
			"spec.template.spec.topologySpreadConstraints.1.labelSelector.matchLabels"},
		"kubernetes/base/service.yaml":                             {"spec.selector", "metadata.labels"},
		"kubernetes/base/service-headless.yaml":                    {"spec.selector"},
		"kubernetes/components/podmonitor/podmonitor.yaml":         {"spec.selector.matchLabels"},
		"kubernetes/components/ambient/peerauthentication.yaml":    {"spec.selector.matchLabels"},
		"kubernetes/base/poddisruptionbudget.yaml":                 {"spec.selector.matchLabels"},
		"kubernetes/base/networkpolicy.yaml":                       {"spec.podSelector.matchLabels"},
		"kubernetes/components/servicemonitor/servicemonitor.yaml": {"spec.selector.matchLabels"},
		"kubernetes/components/istio/peerauthentication.yaml":      {"spec.selector.matchLabels"},
	} {
		for _, path := range paths {
			hold(t, file, object(t, file), map[string]any{path: labels})
		}
	}
	for file, kind := range map[string]string{"kubernetes/base/horizontalpodautoscaler.yaml": "spec.scaleTargetRef.name",
		"kubernetes/components/tls/deployment.yaml": "metadata.name", "kubernetes/components/istio/deployment.yaml": "metadata.name"} {
		hold(t, file, object(t, file), map[string]any{kind: "scopeward"})
	}
}

func dns(port int) []any {
	return []any{map[string]any{"port": port, "protocol": "UDP"}, map[string]any{"port": port, "protocol": "TCP"}}
}

// TestPorts: gRPC for Envoys and the admin listener for Prometheus, by names that Istio understands.
func TestPorts(t *testing.T) {
	t.Parallel()
	hold(t, "service.yaml", object(t, "kubernetes/base/service.yaml"), map[string]any{"spec.ports": []any{
		map[string]any{"name": "grpc", "port": 9191, "targetPort": "grpc"},
		map[string]any{"name": "http-admin", "port": 9192, "targetPort": "admin"},
	}})
	hold(t, "servicemonitor.yaml", object(t, "kubernetes/components/servicemonitor/servicemonitor.yaml"), map[string]any{"spec.endpoints.0.port": "http-admin"})
	policy := object(t, "kubernetes/base/networkpolicy.yaml")
	hold(t, "networkpolicy.yaml", policy, map[string]any{
		"spec.policyTypes":     []any{"Ingress", "Egress"},
		"spec.ingress.0.ports": []any{map[string]any{"port": "grpc", "protocol": "TCP"}},
		"spec.ingress.1.ports": []any{map[string]any{"port": "admin", "protocol": "TCP"}},
		"spec.ingress.2":       nil,
		"spec.egress.0.ports":  dns(53),
		"spec.egress.1.ports":  dns(53),
		"spec.egress.2.ports":  dns(5353),
		"spec.egress.3.ports":  []any{map[string]any{"port": 443, "protocol": "TCP"}},
		"spec.egress.4":        nil,
		"spec.ingress.0.from.0.namespaceSelector.matchExpressions.0.values": []any{"envoy-gateway-system", "istio-system"}, // not default
		"spec.ingress.0.from.1.namespaceSelector.matchLabels":               map[string]any{"scopeward-asks": "true"},
		"spec.ingress.0.from.2": nil,
		"spec.ingress.1.from.0": map[string]any{"namespaceSelector": map[string]any{"matchLabels": map[string]any{"kubernetes.io/metadata.name": "monitoring"}}},
	})
}

// TestIstioAsks: its policies name the provider, which is our Service, and which
// lets nobody pass without an answer.
func TestIstioAsks(t *testing.T) {
	t.Parallel()
	service := object(t, "kubernetes/base/service.yaml")
	namespace := kustomizations(t)["../envoy/kubernetes/base"].Namespace
	mesh := object(t, "istio/meshconfig.yaml")
	name := field(mesh, "meshConfig.extensionProviders.0.name")
	hold(t, "istio/meshconfig.yaml", field(mesh, "meshConfig"), map[string]any{
		"extensionProviders.1": nil,
		"extensionProviders.0.envoyExtAuthzGrpc": map[string]any{
			"service": fmt.Sprintf("%v.%s.svc.cluster.local", field(service, "metadata.name"), namespace), "port": field(service, "spec.ports.0.port"),
			"timeout": "5s", "failOpen": false, "statusOnError": "503"},
		"pathNormalization.normalization": "NONE",
	})
	for _, file := range []string{"istio/ingress-gateway.yaml", "istio/sidecar.yaml", "istio/waypoint.yaml"} {
		hold(t, file, object(t, file), map[string]any{
			"kind": "AuthorizationPolicy", "spec.action": "CUSTOM", "spec.provider.name": name, "spec.rules": []any{map[string]any{}}})
	}
	hold(t, "istio/askers.yaml", object(t, "istio/askers.yaml"), map[string]any{
		"metadata.namespace": namespace, "spec.selector.matchLabels": field(service, "spec.selector"), "spec.action": "ALLOW",
		"spec.rules.0.to.0.operation.ports": []any{fmt.Sprint(field(service, "spec.ports.0.port"))},
		"spec.rules.0.from.0.source":        map[string]any{"principals": []any{"cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account"}},
		"spec.rules.0.from.2":               nil, // nobody else
		"spec.rules.1.to.0.operation.ports": []any{fmt.Sprint(field(service, "spec.ports.1.port"))},
		"spec.rules.2":                      nil,
	})
}

// TestEnvoyGatewayAsks: the whole Gateway, our Service, and fail-closed.
func TestEnvoyGatewayAsks(t *testing.T) {
	t.Parallel()
	service := object(t, "kubernetes/base/service.yaml")
	namespace := kustomizations(t)["../envoy/kubernetes/base"].Namespace
	policy, grant := object(t, "gateway/securitypolicy.yaml"), object(t, "gateway/referencegrant.yaml")
	hold(t, "gateway/securitypolicy.yaml", field(policy, "spec"), map[string]any{
		"targetRefs.0.kind": "Gateway", "extAuth.failOpen": false, "extAuth.statusOnError": 503, "extAuth.timeout": "5s",
		"extAuth.grpc.backendRefs": []any{map[string]any{"name": field(service, "metadata.name"), "namespace": namespace, "port": field(service, "spec.ports.0.port")}},
		"extAuth.headersToExtAuth": nil, "extAuth.bodyToExtAuth": nil,
	})
	hold(t, "gateway/referencegrant.yaml", grant, map[string]any{
		"metadata.namespace": namespace,
		"spec.from":          []any{map[string]any{"group": "gateway.envoyproxy.io", "kind": "SecurityPolicy", "namespace": field(policy, "metadata.namespace")}},
		"spec.to":            []any{map[string]any{"group": "", "kind": "Service", "name": field(service, "metadata.name")}},
	})
	// A cluster whose Gateway API is older than 1.5 knows the grant as v1beta1 only: the docs say how to write that.
	if v1 := "\napiVersion: gateway.networking.k8s.io/v1\n"; strings.Count("\n"+string(readFile(t, "../envoy/gateway/referencegrant.yaml")), v1) != 1 {
		t.Errorf("envoy/gateway/referencegrant.yaml has not one line %q", v1)
	}
	hold(t, "gateway/clienttrafficpolicy.yaml", object(t, "gateway/clienttrafficpolicy.yaml"), map[string]any{
		"metadata.namespace": field(policy, "metadata.namespace"), "spec.targetRefs": field(policy, "spec.targetRefs"),
		"spec.path": map[string]any{"disableMergeSlashes": true, "escapedSlashesAction": "KeepUnchanged"},
	})
}

// TestPrometheusRule: the alerts of the Prometheus operator are those of envoy/compose/observe. UPDATE=1 writes them anew.
func TestPrometheusRule(t *testing.T) {
	t.Parallel()
	const file = "../envoy/kubernetes/components/prometheusrule/prometheusrule.yaml"
	want := []byte("# Made of envoy/compose/observe/alerts.yaml: UPDATE=1 go test ./e2e -run TestPrometheusRule\n" +
		"apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: scopeward\n  namespace: scopeward\nspec:\n")
	for line := range bytes.Lines(withoutComments(t, "../envoy/compose/observe/alerts.yaml")) {
		want = append(append(want, "  "...), line...)
	}
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := readFile(t, file); !bytes.Equal(got, want) {
		t.Errorf("%s is not what the alerts make: UPDATE=1 go test ./e2e -run TestPrometheusRule", file)
	}
}
