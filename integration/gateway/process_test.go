package gateway

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience bounds what is sure to come; it fails a broken test, not a slow
// machine.
const patience = 30 * time.Second

// binary is the path of the gateway, built as its image has it; written once, by
// TestMain.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "respawn-gateway-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "integration:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "gateway")
	image, err := os.ReadFile(filepath.Join(gatewayDir, "Dockerfile"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "integration:", err)
		return 1
	}
	build := exec.Command("sh", "-c", strings.Replace(instructions(string(image))["RUN"], "-o /gateway", "-o "+binary, 1))
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "integration: the gateway cannot be built: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// instructions are those of a Dockerfile, of each kind the last.
func instructions(text string) map[string]string {
	said := map[string]string{}
	for line := range strings.Lines(text) {
		if word, rest, ok := strings.Cut(strings.TrimSpace(line), " "); ok && word != "#" {
			said[word] = rest
		}
	}
	return said
}

// A gateway is examples/gateway with its embedded upstream, in a process of
// its own.
type gateway struct {
	t    *testing.T
	base string
}

func startGateway(t *testing.T) *gateway {
	t.Helper()
	// A stalled answer is given up after this, so that the stall rule has
	// something to go by.
	cmd := exec.Command(binary, "-serve", "127.0.0.1:0", "-first-byte", "1s")
	cmd.Stderr = t.Output()
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // with the streams that are still open
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	base, ok := strings.CutPrefix(strings.TrimSpace(line), "gateway: listening on ")
	require.True(t, ok, line)
	go func() { _, _ = io.Copy(io.Discard, stdout) }()
	require.Eventually(t, func() bool {
		resp, err := http.Get(base + "/health/readiness")
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp.StatusCode == http.StatusOK
	}, patience, 20*time.Millisecond, "it is ready when its upstream has answered")
	return &gateway{t, base}
}

// ask sends one request upstream and returns its status.
func (g *gateway) ask() int {
	g.t.Helper()
	resp, err := http.Get(g.base + "/v1/models")
	require.NoError(g.t, err)
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// askUntil sends requests until one has that status.
func (g *gateway) askUntil(status int) {
	g.t.Helper()
	require.Eventually(g.t, func() bool { return g.ask() == status }, patience, 20*time.Millisecond)
}

// stream opens n long streams, and keeps them open for the rest of the test.
func (g *gateway) stream(n int) {
	g.t.Helper()
	for range n {
		resp, err := http.Post(g.base+"/v1/chat/completions", "application/json",
			strings.NewReader(`{"stream":true,"max_tokens":4096}`))
		require.NoError(g.t, err)
		require.Equal(g.t, http.StatusOK, resp.StatusCode)
		g.t.Cleanup(func() { _ = resp.Body.Close() })
		_, err = resp.Body.Read(make([]byte, 1))
		require.NoError(g.t, err)
	}
}

// load sends a request each 50 ms until the function that it returns is called.
func (g *gateway) load() (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			client := &http.Client{Timeout: patience}
			for tick := time.Tick(200 * time.Millisecond); ; {
				select {
				case <-tick:
				case <-done:
					return
				}
				if resp, err := client.Get(g.base + "/v1/models"); err == nil {
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
			}
		})
	}
	return func() { close(done); wg.Wait() }
}

func (g *gateway) chaos(fault string) {
	g.t.Helper()
	resp, err := http.Post(g.base+"/chaos/"+fault, "", nil)
	require.NoError(g.t, err)
	defer resp.Body.Close()
	require.Equal(g.t, http.StatusOK, resp.StatusCode)
}

// A state is what format=json says of the gateway's one client.
type state struct {
	State               string
	Summary             string
	Generation          uint64
	InFlight            int64 `json:"in_flight"`
	Promotions          int
	Rejections          int
	Failures            int64
	OpenOutages         []struct{ Authority string } `json:"open_outages"`
	EndedOutages        []struct{ Authority string } `json:"ended_outages"`
	DrainingGenerations []struct {
		InFlight int64 `json:"in_flight"`
	} `json:"draining_generations"`
	Recreations []struct {
		Trigger, Outcome string
		Drained          int64
		Draining         bool
	}
}

func (g *gateway) state() state {
	g.t.Helper()
	resp, err := http.Get(g.base + "/debug/respawn?format=json")
	require.NoError(g.t, err)
	defer resp.Body.Close()
	require.Equal(g.t, http.StatusOK, resp.StatusCode)
	var doc struct{ Clients []state }
	require.NoError(g.t, json.NewDecoder(resp.Body).Decode(&doc))
	require.Len(g.t, doc.Clients, 1)
	return doc.Clients[0]
}

// await waits for a state that the gateway is sure to come to.
func (g *gateway) await(what string, is func(state) bool) {
	g.t.Helper()
	require.Eventually(g.t, func() bool { return is(g.state()) }, patience, 20*time.Millisecond, what)
}
