package jaeger

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// patience bounds what is sure to come; it fails a broken test, not a slow
// machine.
const patience = 60 * time.Second

// output runs a go command and returns what it prints.
func output(t *testing.T, args ...string) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "go %s: %s", strings.Join(args, " "), &stderr)
	return strings.TrimSpace(string(out))
}

// launch runs a program until the test ends. What it writes is in the buffer,
// and in the test's log if it fails.
func launch(t *testing.T, env []string, name string, args ...string) *safeBuffer {
	t.Helper()
	out := &safeBuffer{}
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = out, out
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		assert.NoError(t, cmd.Wait())
		if t.Failed() {
			t.Logf("%s:\n%s", name, out)
		}
	})
	return out
}

// await waits until attempt returns no error.
func await(t *testing.T, attempt func() error) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		err := attempt()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			require.NoError(t, err)
		}
	}
}

// freeAddresses returns addresses on the loopback that nobody listens on.
func freeAddresses(t *testing.T, n int) []string {
	t.Helper()
	var addresses []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer l.Close() // all at once, so that none comes twice
		addresses = append(addresses, l.Addr().String())
	}
	return addresses
}

// startJaeger runs Jaeger on ports of its own. The first time it is built,
// which is why the Makefile does that before.
func startJaeger(t *testing.T) backend {
	t.Helper()
	binary := output(t, "tool", "-n", "jaeger")
	addresses := freeAddresses(t, 3)
	launch(t, []string{"QUERY_HTTP=" + addresses[0], "QUERY_GRPC=" + addresses[1], "OTLP_HTTP=" + addresses[2]},
		binary, "--config", "config.yaml")
	b := backend{query: "http://" + addresses[0], otlp: "http://" + addresses[2] + "/v1/traces"}
	await(t, func() error {
		_, err := b.services()
		return err
	})
	return b
}

// startGateway runs the gateway of the examples, built as its users build it,
// with nothing said of telemetry but where traces go.
func startGateway(t *testing.T, traces string) caller {
	t.Helper()
	binary := t.TempDir() + "/gateway"
	output(t, "build", "-C", "../../examples/gateway", "-o", binary, ".")
	out := launch(t, []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=" + traces, "OTEL_BSP_SCHEDULE_DELAY=100"},
		binary, "-serve", "127.0.0.1:0", "-first-byte", "1s")
	var base string
	await(t, func() error {
		for line := range strings.Lines(out.String()) {
			var ok bool
			if base, ok = strings.CutPrefix(strings.TrimSpace(line), "gateway: listening on "); ok {
				return nil
			}
		}
		return fmt.Errorf("the gateway does not listen: %s", out)
	})
	return caller{base}
}

// A safeBuffer is a bytes.Buffer that tests may read while others write.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

var _ io.Writer = (*safeBuffer)(nil)

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
