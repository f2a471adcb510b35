//go:build unix

package integration

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"text/template"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
)

// nginxConfig is all in one directory, so that no test needs to be root or
// meets another nginx. The upstream behind it keeps the count of messages.
var nginxConfig = template.Must(template.New("nginx.conf").Parse(`
{{if .Root}}user root root;{{end}}
worker_processes 2;
pid nginx.pid;
error_log error.log notice;
events { worker_connections 512; }
http {
	log_format message '$status $http_x_message';
	access_log access.log message;
	client_body_temp_path body;
	proxy_temp_path proxy;
	fastcgi_temp_path fastcgi;
	uwsgi_temp_path uwsgi;
	scgi_temp_path scgi;
	upstream app {
		server {{.Upstream}};
		keepalive 8;
	}
	server {
		listen {{.Plain}};
		listen {{.TLS}} ssl http2;
		ssl_certificate cert.pem;
		ssl_certificate_key key.pem;
		location / {
			proxy_pass http://app;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
		}
		location = /status {
			stub_status;
			access_log off;
		}
	}
}
`))

// An nginx is a real one, from the system's packages.
type nginx struct {
	t          *testing.T
	binary     string
	dir        string
	plain, tls string // addresses
	group      int    // of its processes; 0 when there are none
}

// newNginx starts nginx in front of the upstream. Its certificate is ca's.
func newNginx(t *testing.T, upstream string, ca *authority) *nginx {
	t.Helper()
	n := &nginx{t: t, binary: findNginx(t), dir: t.TempDir(), plain: quietAddr(t), tls: quietAddr(t)}
	cert := ca.issue("nginx")
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	require.NoError(t, err)
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: cert.Certificate[0]},
		"key.pem":  {Type: "PRIVATE KEY", Bytes: key},
	} {
		require.NoError(t, os.WriteFile(filepath.Join(n.dir, name), pem.EncodeToMemory(block), 0o600))
	}
	config, err := os.Create(filepath.Join(n.dir, "nginx.conf"))
	require.NoError(t, err)
	require.NoError(t, nginxConfig.Execute(config, map[string]any{
		"Root": os.Geteuid() == 0, "Upstream": upstream, "Plain": n.plain, "TLS": n.tls,
	}))
	require.NoError(t, config.Close())
	n.start()
	t.Cleanup(func() {
		n.kill()
		if t.Failed() {
			text, _ := os.ReadFile(filepath.Join(n.dir, "error.log"))
			t.Logf("nginx's error log:\n%s", text)
		}
	})
	return n
}

// findNginx returns the path of nginx. If there is none, it skips the test or, in CI, fails it.
func findNginx(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"nginx", "/usr/sbin/nginx", "/usr/local/sbin/nginx"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	const missing = "nginx is not installed: make deps"
	if os.Getenv("CI") == "true" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// quietAddr returns a loopback address that can be served again after a pause: the system does not
// give ports of this range to whoever asks for any port.
func quietAddr(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(20000+rand.IntN(10000)))
		if err == nil {
			require.NoError(t, l.Close())
			return l.Addr().String()
		}
	}
	t.Fatal("no port is free")
	return ""
}

// start starts nginx and returns when it serves. nginx has to run as a daemon: it ignores USR2 while
// it is the child of another program.
func (n *nginx) start() {
	n.t.Helper()
	out, err := exec.Command(n.binary, "-p", n.dir, "-c", "nginx.conf", "-e", "error.log").CombinedOutput()
	require.NoError(n.t, err, "%s", out)
	n.await("nginx does not start", func() bool { n.group = n.pid("nginx.pid"); return n.group != 0 && n.open() >= 0 })
}

// pid reads a master's process id, or 0.
func (n *nginx) pid(file string) int {
	text, err := os.ReadFile(filepath.Join(n.dir, file))
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return pid
}

func (n *nginx) listens() bool {
	conn, err := net.Dial("tcp", n.plain)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

func (n *nginx) await(what string, condition func() bool) {
	n.t.Helper()
	require.Eventually(n.t, condition, patience, time.Millisecond, what)
}

// kill ends nginx at once, workers and all.
func (n *nginx) kill() {
	n.t.Helper()
	if n.group == 0 {
		return
	}
	require.NoError(n.t, syscall.Kill(-n.group, syscall.SIGKILL))
	n.group = 0
	n.await("nginx survives", func() bool { return !n.listens() })
	require.NoError(n.t, os.RemoveAll(filepath.Join(n.dir, "nginx.pid")))
}

// restart restarts nginx in the two ways that its manual calls graceful: by HUP, and by USR2 and
// QUIT, as for a new binary.
func (n *nginx) restart() {
	n.t.Helper()
	const workers = 2 // worker_processes
	before := n.logged("exited with code 0")
	n.signal("nginx.pid", syscall.SIGHUP)
	n.await("the old workers stay", func() bool { return n.logged("exited with code 0") >= before+workers })

	old := n.pid("nginx.pid")
	n.signal("nginx.pid", syscall.SIGUSR2)
	// A new one that starts when the old one is gone takes its foster parent for the old one, and
	// ignores USR2 for good. So the file has to be its own, and not the old one's before the rename.
	n.await("no new binary", func() bool { fresh := n.pid("nginx.pid"); return fresh != 0 && fresh != old })
	n.signal("nginx.pid.oldbin", syscall.SIGQUIT)
	n.await("the old binary stays", func() bool {
		// The new one ignores the next USR2 as long as the old one is its parent.
		return n.pid("nginx.pid.oldbin") == 0 && parentOf(n.pid("nginx.pid")) != old
	})
}

// parentOf returns the parent of a process; 0 where the system has no /proc.
func parentOf(pid int) (parent int) {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if _, rest, ok := strings.Cut(string(stat), ") "); ok { // after the name
		var state string
		_, _ = fmt.Sscan(rest, &state, &parent)
	}
	return parent
}

func (n *nginx) signal(pidFile string, s syscall.Signal) {
	n.t.Helper()
	pid := n.pid(pidFile)
	require.NotZero(n.t, pid, pidFile)
	require.NoError(n.t, syscall.Kill(pid, s))
}

// logged returns how often the error log says what.
func (n *nginx) logged(what string) int { return strings.Count(n.read("error.log"), what) }

func (n *nginx) read(name string) string {
	n.t.Helper()
	text, err := os.ReadFile(filepath.Join(n.dir, name))
	require.NoError(n.t, err)
	return string(text)
}

// open is how many connections clients have, by nginx's own count.
func (n *nginx) open() int64 {
	once := &http.Transport{DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: once, Timeout: patience}).Get("http://" + n.plain + "/status")
	if err != nil {
		return -1
	}
	defer resp.Body.Close()
	var active int64
	if _, err := fmt.Fscanf(resp.Body, "Active connections: %d", &active); err != nil {
		return -1
	}
	return active - 1 // this one
}

// answers returns how often a message was answered, by nginx's own log.
func (n *nginx) answers() map[string]int {
	times := map[string]int{}
	for line := range strings.Lines(n.read("access.log")) {
		if _, message, _ := strings.Cut(strings.TrimSpace(line), " "); message != "-" {
			times[message]++
		}
	}
	return times
}

// newNginxWorld is an upstream behind nginx, which speaks HTTP/1.1 in plain
// text and HTTP/2 over TLS.
func newNginxWorld(r *report, protocol string) (*world, *nginx) {
	s := newServer(r)
	l := listen(r.t)
	s.serve(r.t, l)
	ca := newAuthority(r.t)
	n := newNginx(r.t, l.Addr().String(), ca)
	r.counts = []func() int64{n.open} // nginx's count, since the upstream's clients are nginx's workers
	w := &world{r: r, server: s, url: "http://" + n.plain + "/", cloned: true}
	if protocol == "h2" {
		w.url = "https://" + n.tls + "/"
	}
	w.build = factory(func(context.Context) (*http.Transport, error) {
		tr := &http.Transport{TLSClientConfig: ca.client(), MaxIdleConnsPerHost: workers, Protocols: new(http.Protocols)}
		protocols[protocol](tr.Protocols)
		return tr, nil
	})
	return w, n
}

// everyKind is a load of each kind of request.
func (c client) everyKind(t *testing.T, n int) []*load {
	return []*load{
		c.gets(t, n), c.posts(t, keyedPost, n), c.posts(t, rewindPost, n), c.posts(t, shotPost, n),
	}
}

func awaitAll(loads []*load, n int, since time.Time) {
	for _, l := range loads {
		l.t.Helper()
		l.awaitSuccesses(n, since)
	}
}

// nginx is restarted under load, gracefully or not. Whatever happens, no POST
// without a key may reach the upstream twice.
func TestNginxRestarted(t *testing.T) {
	const each = 2 // workers for each kind
	outage := func(n *nginx) (up time.Time) {
		n.kill()
		time.Sleep(500 * time.Millisecond)
		n.start()
		return time.Now()
	}
	// The first trial comes at once, and the backoff allows no other one before
	// nginx is up again. Requests that succeed then do so on the first transport.
	once := respawn.WithBackOff(func() backoff.BackOff { return backoff.NewConstantBackOff(patience) })
	endings := []struct {
		how     string
		opts    []respawn.Option
		restart func(*nginx) (curable time.Time)
		check   func(*testing.T, *report, map[kind]int)
	}{
		{
			how: "restarted gracefully",
			restart: func(n *nginx) time.Time {
				curable := time.Now()
				n.restart()
				return curable
			},
			check: func(t *testing.T, r *report, failed map[kind]int) {
				require.Equal(t, r.Unsafe, r.Failed, "a request was lost that could have been sent again")
				require.LessOrEqual(t, r.Failed, 2*2*each, "each of two restarts may cost each sender of unsafe requests one")
				require.Equal(t, 1, r.Built, "a fresh transport, although the old one was fine")
			},
		},
		{
			how:     "killed and started again",
			opts:    []respawn.Option{once},
			restart: outage,
			check: func(t *testing.T, r *report, failed map[kind]int) {
				require.NotZero(t, failed[plainGet], "it was down")
				require.Zero(t, r.FailedAfter, "a request was lost once it was up again")
				require.Zero(t, r.Promoted, "a swap, although the transport was fine")
				require.Equal(t, 2, r.Built, "one trial")
			},
		},
		{
			how:     "killed and started again, WithWaitForReady",
			opts:    []respawn.Option{respawn.WithWaitForReady(patience)},
			restart: outage,
			check: func(t *testing.T, r *report, failed map[kind]int) {
				require.Zero(t, failed[plainGet]+failed[keyedPost], "what could be sent again was lost")
				require.LessOrEqual(t, r.Unsafe, 3*2*each, "what a sender of unsafe requests had on one of nginx's processes when that was killed, the master's backlog too")
				require.Zero(t, r.FailedAfter, "a request was lost once it was up again")
				require.LessOrEqual(t, r.Promoted, 1)
			},
		},
	}
	for _, protocol := range []string{"h1", "h2"} {
		for _, ending := range endings {
			t.Run(protocol+" "+ending.how, func(t *testing.T) {
				findNginx(t)
				r := begin(t, "nginx, "+protocol+": "+ending.how)
				w, n := newNginxWorld(r, protocol)

				bare := w.first(t)
				loads := client{bare, w.url, patience, "bare "}.everyKind(t, each)
				awaitAll(loads, 20, time.Now())
				curable := ending.restart(n)
				awaitAll(loads, 50, curable)
				r.takeBare(loads...)
				w.discard(bare)

				rt := w.start(t, ending.opts...)
				loads = client{rt, w.url, patience, "respawn "}.everyKind(t, each)
				awaitAll(loads, 20, time.Now())
				curable = ending.restart(n)
				awaitAll(loads, 50, curable)
				r.take(curable, rt, loads...)

				failed := map[kind]int{}
				for _, l := range loads {
					for _, o := range l.outcomes {
						if o.err != nil && !errors.As(o.err, new(cutError)) { // whose headers had come
							failed[l.kind]++
						}
					}
				}
				t.Logf("failed by kind: %v", failed)
				ending.check(t, r, failed)
				answers := n.answers()
				for _, who := range []string{"bare ", "respawn "} {
					for _, k := range []kind{rewindPost, shotPost} {
						require.Empty(t, w.server.ledger.twice(who+string(k)), "%s%s reached the upstream twice", who, k)
						for message, times := range answers {
							if strings.HasPrefix(message, who+string(k)+"#") {
								require.Equal(t, 1, times, "%s was answered twice", message)
							}
						}
					}
				}
			})
		}
	}
}
