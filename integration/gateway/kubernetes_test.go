package gateway

import (
	"debug/elf"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

var gatewayDir = filepath.Join("..", "..", "examples", "gateway")

// A manifest is what kustomize makes of examples/gateway.
type manifest struct {
	deployment appsv1.Deployment
	service    corev1.Service
	budget     policyv1.PodDisruptionBudget
}

// decode reads a manifest strictly: a field that the API does not know, or
// that is there twice, is an error.
func decode(text string) (m manifest, err error) {
	want := map[string]any{
		"apps/v1 Deployment":            &m.deployment,
		"v1 Service":                    &m.service,
		"policy/v1 PodDisruptionBudget": &m.budget,
	}
	for doc := range strings.SplitSeq(text, "\n---\n") {
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(doc), &kind); err != nil {
			return m, err
		}
		name := kind.APIVersion + " " + kind.Kind
		object, ok := want[name]
		if !ok {
			return m, fmt.Errorf("a second or unexpected %s", name)
		}
		delete(want, name)
		if err := yaml.UnmarshalStrict([]byte(doc), object); err != nil {
			return m, fmt.Errorf("%s: %w", name, err)
		}
	}
	if len(want) > 0 {
		return m, fmt.Errorf("%d objects are missing", len(want))
	}
	return m, nil
}

func readManifest(t *testing.T) (m manifest, text string) {
	t.Helper()
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), gatewayDir)
	require.NoError(t, err)
	b, err := resources.AsYaml()
	require.NoError(t, err)
	m, err = decode(string(b))
	require.NoError(t, err)
	return m, string(b)
}

func TestManifestIsDecodedStrictly(t *testing.T) {
	_, text := readManifest(t)
	for good, bad := range map[string]string{
		"readinessProbe:":        "readynessProbe:",
		"failureThreshold: 3":    "failureThreshold: three",
		"memory: 256Mi":          "memory: 256 mebibytes",
		"replicas: 2":            "replicas: 2\n  replicas: 3",
		"apps/v1":                "apps/v1beta1",
		"path: /health/liveness": "paths: [/health/liveness]",
	} {
		broken := strings.Replace(text, good, bad, 1)
		require.NotEqual(t, text, broken, good)
		_, err := decode(broken)
		assert.Error(t, err, bad)
	}
}

func TestManifestHangsTogether(t *testing.T) {
	m, _ := readManifest(t)
	pod := m.deployment.Spec.Template
	for what, selector := range map[string]*metav1.LabelSelector{
		"Deployment":          m.deployment.Spec.Selector,
		"PodDisruptionBudget": m.budget.Spec.Selector,
		"Service":             {MatchLabels: m.service.Spec.Selector},
	} {
		s, err := metav1.LabelSelectorAsSelector(selector)
		require.NoError(t, err)
		require.False(t, s.Empty(), what)
		assert.True(t, s.Matches(labels.Set(pod.Labels)), "%s selects no pod", what)
	}
	assert.Greater(t, int(*m.deployment.Spec.Replicas), m.budget.Spec.MinAvailable.IntValue(), "no pod could ever be moved")

	require.Len(t, pod.Spec.Containers, 1)
	c := pod.Spec.Containers[0]
	assert.NotEqual(t, "gateway", c.Image, "the kustomization says where it is")
	require.Len(t, c.Ports, 2)
	public, debug := port(t, c.Args, "-serve"), port(t, c.Args, "-debug")
	assert.Equal(t, []int{public, debug}, []int{int(c.Ports[0].ContainerPort), int(c.Ports[1].ContainerPort)}, "what the gateway is told to listen on")
	assert.Equal(t, strconv.Itoa(debug), pod.Annotations["prometheus.io/port"])
	require.Len(t, m.service.Spec.Ports, 1)
	assert.Equal(t, public, resolve(t, c, m.service.Spec.Ports[0].TargetPort), "the Service leads to the public port alone")

	for what, p := range probes(c) {
		require.NotNil(t, p, what)
		require.NotNil(t, p.HTTPGet, what)
		assert.Equal(t, debug, resolve(t, c, p.HTTPGet.Port), what)
	}
	assert.NotEqual(t, c.LivenessProbe.HTTPGet.Path, c.ReadinessProbe.HTTPGet.Path)
	for _, r := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		request, limit := c.Resources.Requests[r], c.Resources.Limits[r]
		assert.Positive(t, request.Sign(), "%s is requested", r)
		assert.GreaterOrEqual(t, limit.Cmp(request), 0, "%s has a limit", r)
	}

	// A variable is known to those after it only.
	known := map[string]bool{}
	for _, e := range c.Env {
		for _, reference := range regexp.MustCompile(`\$\(([A-Z_]+)\)`).FindAllStringSubmatch(e.Value, -1) {
			assert.True(t, known[reference[1]], "%s is not known yet", reference[1])
		}
		known[e.Name] = true
	}

	// Whoever is in flight may finish before the pod is killed.
	source, err := os.ReadFile(filepath.Join(gatewayDir, "serve.go"))
	require.NoError(t, err)
	found := regexp.MustCompile(`grace = ([0-9]+) \* time\.Second`).FindSubmatch(source)
	require.NotNil(t, found)
	grace, err := strconv.Atoi(string(found[1]))
	require.NoError(t, err)
	assert.Greater(t, *pod.Spec.TerminationGracePeriodSeconds, int64(grace)+c.Lifecycle.PreStop.Sleep.Seconds)
}

// What the manifest says of the gateway is what the gateway does.
func TestManifestIsTheGateways(t *testing.T) {
	m, _ := readManifest(t)
	c := m.deployment.Spec.Template.Spec.Containers[0]
	out, err := exec.Command(binary, append(slices.Clone(c.Args), "-help")...).CombinedOutput()
	require.NoError(t, err, "its arguments are not the gateway's: %s", out)

	g := startGateway(t)
	paths := map[string]string{"metrics": m.deployment.Spec.Template.Annotations["prometheus.io/path"]}
	for what, p := range probes(c) {
		paths[what] = p.HTTPGet.Path
	}
	ask := func(when string) {
		for what, path := range paths {
			client := &http.Client{Timeout: patience}
			resp, err := client.Get(g.base + path)
			require.NoError(t, err)
			_ = resp.Body.Close()
			assert.Equal(t, http.StatusOK, resp.StatusCode, "%s %s, %s", what, path, when)
		}
	}
	ask("before")
	g.askUntil(http.StatusOK)
	g.chaos("down")
	require.Eventually(t, func() bool { g.ask(); return g.state().State == "recovering" }, patience, 20*time.Millisecond)
	ask("while the upstream is down")
}

func probes(c corev1.Container) map[string]*corev1.Probe {
	return map[string]*corev1.Probe{"liveness": c.LivenessProbe, "readiness": c.ReadinessProbe}
}

// The image is what the manifest takes it for: the same ports and arguments,
// nobody with a name, and a program that needs nothing else.
func TestTheImageIsTheManifests(t *testing.T) {
	m, _ := readManifest(t)
	pod := m.deployment.Spec.Template.Spec
	c := pod.Containers[0]
	text, err := os.ReadFile(filepath.Join(gatewayDir, "Dockerfile"))
	require.NoError(t, err)
	said := instructions(string(text))
	assert.Equal(t, fmt.Sprint(*pod.SecurityContext.RunAsUser), said["USER"])
	assert.Equal(t, fmt.Sprintf("%d %d", c.Ports[0].ContainerPort, c.Ports[1].ContainerPort), said["EXPOSE"])
	var args []string
	require.NoError(t, json.Unmarshal([]byte(said["CMD"]), &args))
	assert.Equal(t, port(t, c.Args, "-serve"), port(t, args, "-serve"))
	assert.Equal(t, port(t, c.Args, "-debug"), port(t, args, "-debug"))
	assert.Equal(t, `["/gateway"]`, said["ENTRYPOINT"])
	assert.Contains(t, said["COPY"], "--from=build /gateway")

	program, err := elf.Open(binary)
	require.NoError(t, err)
	defer program.Close()
	libraries, err := program.ImportedLibraries()
	require.NoError(t, err)
	assert.Empty(t, libraries, "there are none in the image")
}

// port is that of an address flag.
func port(t *testing.T, args []string, flag string) int {
	t.Helper()
	_, text, err := net.SplitHostPort(argument(t, args, flag))
	require.NoError(t, err)
	n, err := strconv.Atoi(text)
	require.NoError(t, err)
	return n
}

// argument is the value of a flag.
func argument(t *testing.T, args []string, flag string) string {
	t.Helper()
	i := slices.Index(args, flag)
	require.GreaterOrEqual(t, i, 0)
	require.Less(t, i+1, len(args))
	return args[i+1]
}

// resolve is the number of a container's port.
func resolve(t *testing.T, c corev1.Container, port intstr.IntOrString) int {
	t.Helper()
	if port.Type == intstr.Int {
		return port.IntValue()
	}
	for _, p := range c.Ports {
		if p.Name == port.StrVal {
			return int(p.ContainerPort)
		}
	}
	require.FailNow(t, "no port is called "+port.StrVal)
	return 0
}
