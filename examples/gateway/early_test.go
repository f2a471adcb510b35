package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A kilobyte fits into what the server has read with the header, a hundred do
// not, and of a thousand the server throws the rest away with the connection.
var bodySizes = map[string]int{"short": 1 << 10, "long": 100 << 10, "too long": 1000 << 10}

// post sends a body as callers do: to its end, or until the answer is there.
func (r *rig) post(t *testing.T, client *http.Client, size int, header http.Header) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+"/v1/chat/completions",
		bytes.NewReader(bytes.Repeat([]byte("x"), size)))
	require.NoError(t, err)
	req.Header = header.Clone()
	resp, err := client.Do(req)
	var text []byte
	if err == nil {
		defer resp.Body.Close()
		text, err = io.ReadAll(resp.Body)
	}
	if err != nil { // the connection has gone while there was still something to send
		require.Greater(t, size, maxDrain, "%v", err)
		return 0, ""
	}
	return resp.StatusCode, string(text)
}

// newCaller returns a client with a pool of its own. It waits for leave to send
// the body only where a request asks for it.
func newCaller(t *testing.T) *http.Client {
	t.Helper()
	pool := &http.Transport{ExpectContinueTimeout: time.Minute}
	t.Cleanup(pool.CloseIdleConnections)
	return &http.Client{Transport: pool, Timeout: patience}
}

// Nothing reads the request where the upstream refuses connections.
func TestAPOSTThatNobodyReadIsAnsweredAndItsConnectionUsedAgain(t *testing.T) {
	for name, size := range bodySizes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, client := newEmbeddedRig(t), newCaller(t)
			r.inject(t, string(faultDown))
			before := r.conns.Load()
			for range 20 {
				status, body := r.post(t, client, size, nil)
				if status != 0 {
					require.Equal(t, http.StatusBadGateway, status, body)
				}
			}
			// net/http does not use a connection again if the writing of its request is not reported
			// within 50 ms, as on a busy machine.
			if size <= maxDrain {
				require.Less(t, r.conns.Load()-before, int64(10), "a connection for each request")
			}
			r.inject(t, chaosNone)
			require.Eventually(t, func() bool { status, _ := r.get(t, "/v1/models"); return status == http.StatusOK },
				patience, 10*time.Millisecond)
		})
	}
}

// POSTs through each fault, long and short, some of which it cuts short.
func TestNoFaultMakesTheGatewayPanic(t *testing.T) {
	for _, f := range faults() {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			r, client := newEmbeddedRigFor(t, 500*time.Millisecond), newCaller(t)
			for i := range 6 {
				if i == 2 {
					r.inject(t, string(f))
				}
				for _, size := range bodySizes {
					r.post(t, client, size, nil)
				}
			}
			// The rig looks into the log.
		})
	}
}

const refusal = `{"error":{"type":"invalid_api_key"}}`

// newHastyRig has an upstream that answers at once, whatever it is sent.
func newHastyRig(t *testing.T) *rig {
	t.Helper()
	upstream := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_ = http.NewResponseController(w).Flush() // no length
		_, _ = io.WriteString(w, refusal)
	}))
	upstream.EnableHTTP2 = true
	upstream.StartTLS()
	t.Cleanup(upstream.Close)
	roots := upstream.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	return newRig(t, upstream.URL, &sessions{cfg: sessionConfig{roots: roots}}, nil)
}

// The caller sends the rest of its request only to those who have not refused it.
func TestAnAnswerIsNotHeldBackUntilTheRequestIsThere(t *testing.T) {
	t.Parallel()
	r := newHastyRig(t)
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(conn, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusUnauthorized, resp.StatusCode)
	text := make([]byte, len(refusal))
	_, err = io.ReadFull(resp.Body, text)
	require.NoError(t, err)
	require.Equal(t, refusal, string(text))
}

func TestAnAnswerBeforeTheRequestIsReadComesThroughWhole(t *testing.T) {
	for what, header := range map[string]http.Header{
		"":                  nil,
		" with leave first": {"Expect": {"100-continue"}},
	} {
		for name, size := range bodySizes {
			t.Run(name+what, func(t *testing.T) {
				t.Parallel()
				r, client := newHastyRig(t), newCaller(t)
				for range 20 {
					status, body := r.post(t, client, size, header)
					if status != 0 {
						require.Equal(t, http.StatusUnauthorized, status)
						require.Equal(t, refusal, body)
					}
				}
			})
		}
	}
}

// A transport may begin to read the request only when it has the answer's header.
func TestARequestCanBeReadAfterTheAnswersHeader(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(early(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		n, err := io.Copy(io.Discard, req.Body)
		fmt.Fprint(w, n, err)
	})))
	t.Cleanup(server.Close)
	for what, header := range map[string]http.Header{"at once": {}, "with leave": {"Expect": {"100-Continue"}}} {
		t.Run(what, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, strings.NewReader("{}"))
			require.NoError(t, err)
			req.Header = header
			resp, err := newCaller(t).Do(req)
			require.NoError(t, err)
			defer resp.Body.Close()
			text, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Equal(t, "2 <nil>", string(text))
		})
	}
}

// A connection that has become something else is none of the server's.
func TestAnUpgradeOfARequestWithABody(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "echo")
		w.WriteHeader(http.StatusSwitchingProtocols)
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		_, _ = io.CopyN(conn, buffered, 4)
	}))
	t.Cleanup(upstream.Close)
	r := newRig(t, upstream.URL, &sessions{}, nil)
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(conn, "POST /v1/realtime HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\nContent-Length: 2\r\n\r\n{}")
	require.NoError(t, err)
	from := bufio.NewReader(conn)
	resp, err := http.ReadResponse(from, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
	_, err = io.WriteString(conn, "ping")
	require.NoError(t, err)
	text, err := io.ReadAll(from)
	require.NoError(t, err)
	require.Equal(t, "ping", string(text))
}
