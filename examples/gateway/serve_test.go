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
			}, 5*time.Second, 10*time.Millisecond, "nobody new is let in")

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

	_, base, _ := startGateway(t, "-upstream", "http://"+l.Addr().String()+"/base")
	resp, err := http.Get(base + "/v1/models")
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, "/base/v1/models", string(body))
	require.Equal(t, l.Addr().String(), resp.Header.Get("X-Host"), "the upstream's own name, not the gateway's")
}
