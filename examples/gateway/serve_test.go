package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// startGateway runs the program with -serve in a process of its own, and
// returns it with its address.
func startGateway(t *testing.T, args ...string) (*exec.Cmd, string, *safeBuffer) {
	t.Helper()
	return startGatewayWith(t, nil, args...)
}

// startGatewayWith is startGateway with more variables in its environment.
func startGatewayWith(t *testing.T, env []string, args ...string) (*exec.Cmd, string, *safeBuffer) {
	t.Helper()
	cmd, base, stderr := launchGateway(t, env, args...)
	require.Eventually(t, func() bool { return status(t, base+"/health/readiness") == http.StatusOK }, patience, 10*time.Millisecond)
	return cmd, base, stderr
}

// status is what a GET is answered with.
func status(t *testing.T, url string) int {
	t.Helper()
	resp, err := http.Get(url)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode
}

// launchGateway does not wait until the gateway is ready.
func launchGateway(t *testing.T, env []string, args ...string) (*exec.Cmd, string, *safeBuffer) {
	t.Helper()
	stderr := &safeBuffer{}
	cmd := exec.Command(os.Args[0], append([]string{"-serve", "127.0.0.1:0"}, args...)...)
	cmd.Env = slices.Concat(os.Environ(), []string{asMain + "=1"}, env)
	cmd.Stderr = stderr
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		if cmd.ProcessState == nil { // the test has failed before its Wait
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err, stderr)
	base, ok := strings.CutPrefix(strings.TrimSpace(line), "gateway: listening on ")
	require.True(t, ok, line)
	go func() { _, _ = io.Copy(io.Discard, stdout) }()
	return cmd, base, stderr
}

func TestSignalsLetARunningStreamFinish(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			cmd, base, stderr := startGateway(t)
			const words = 30 // 1.5 s at the embedded upstream's pace
			resp, err := http.Post(base+"/v1/chat/completions", "application/json",
				strings.NewReader(`{"stream":true,"max_tokens":30}`))
			require.NoError(t, err)
			defer resp.Body.Close()
			lines := bufio.NewScanner(resp.Body)
			require.True(t, lines.Scan())

			require.NoError(t, cmd.Process.Signal(signal))
			require.Eventually(t, func() bool {
				conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
				if err == nil {
					_ = conn.Close()
				}
				return err != nil
			}, patience, 10*time.Millisecond, "nobody new is let in")

			events, last := 1, ""
			for lines.Scan() {
				if strings.HasPrefix(lines.Text(), "data: ") {
					events++
					last = lines.Text()
				}
			}
			require.NoError(t, lines.Err())
			require.Equal(t, words+1, events)
			require.Equal(t, "data: [DONE]", last)
			require.NoError(t, cmd.Wait(), stderr)
		})
	}
}

func TestServeARealUpstream(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("X-Host", req.Host)
		_, _ = io.WriteString(w, req.URL.Path)
	})}
	go func() { _ = server.Serve(l) }()
	defer server.Close()

	_, base, _ := launchGateway(t, nil, "-upstream", "http://"+l.Addr().String()+"/base")
	resp, err := http.Get(base + "/v1/models")
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, "/base/v1/models", string(body))
	require.Equal(t, l.Addr().String(), resp.Header.Get("X-Host"), "the upstream's own name, not the gateway's")
}

// A pod that starts in the middle of an outage must be there when it is over.
func TestItStartsWhileItsUpstreamIsDown(t *testing.T) {
	t.Parallel()
	address := freePort(t)
	_, base, stderr := launchGateway(t, nil, "-upstream", "http://"+address)
	readiness := base + "/health/readiness"
	require.Eventually(t, func() bool {
		resp, err := http.Get(readiness)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
		require.Equal(t, "application/health+json", resp.Header.Get("Content-Type"))
		return strings.Contains(string(body), "has not answered since the gateway started") && strings.Contains(string(body), "refused")
	}, patience, 10*time.Millisecond)
	require.Equal(t, http.StatusOK, status(t, base+"/health/liveness"), "a restart would not help")
	require.Equal(t, http.StatusBadGateway, status(t, base+"/v1/models"))
	require.Eventually(t, func() bool {
		return strings.Contains(stderr.String(), "gateway: not ready, the upstream does not answer")
	}, patience, 10*time.Millisecond)

	l, err := net.Listen("tcp", address)
	require.NoError(t, err)
	server := &http.Server{Handler: http.NotFoundHandler()} // an answer is an answer
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	require.Eventually(t, func() bool { return status(t, readiness) == http.StatusOK }, patience, 10*time.Millisecond)
	require.Eventually(t, func() bool { // the log comes through a pipe
		return strings.Contains(stderr.String(), "gateway: ready, the upstream answers")
	}, patience, 10*time.Millisecond)
	require.Equal(t, 1, strings.Count(stderr.String(), "gateway: not ready"), "said once")
}

func TestAPortOfItsOwnForThoseWhoRunIt(t *testing.T) {
	t.Parallel()
	address := freePort(t)
	debug := "http://" + address
	cmd, base, stderr := launchGateway(t, nil, "-debug", address)
	require.Eventually(t, func() bool { return status(t, debug+"/health/readiness") == http.StatusOK }, patience, 10*time.Millisecond)
	require.Equal(t, http.StatusOK, status(t, base+"/v1/models"))
	for _, path := range []string{"/health/liveness", "/health/readiness", "/metrics", "/debug/respawn", "/chaos/"} {
		require.Equal(t, http.StatusOK, status(t, debug+path), path)
		require.Equal(t, http.StatusNotFound, status(t, base+path), path)
	}
	require.Equal(t, http.StatusNotFound, status(t, debug+"/v1/models"))
	require.Equal(t, http.StatusOK, status(t, base+"/"))
	require.Equal(t, http.StatusOK, status(t, debug+"/"))

	// While a stream runs on after SIGTERM, the debug port says why nobody else
	// is let in.
	const stream = `{"stream":true,"max_tokens":160}` // 8 s at the embedded upstream's pace: long enough to ask meanwhile
	resp, err := http.Post(base+"/v1/chat/completions", "application/json", strings.NewReader(stream))
	require.NoError(t, err)
	defer resp.Body.Close()
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.Eventually(t, func() bool { return status(t, debug+"/health/readiness") == http.StatusServiceUnavailable }, patience, 10*time.Millisecond)
	require.Equal(t, http.StatusOK, status(t, debug+"/metrics"), "the last of them can be scraped")
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Contains(t, string(body), "data: [DONE]")
	require.NoError(t, cmd.Wait(), stderr)
}
