package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"time"
)

// serverEnv makes this program the server of the loopback workloads: a process
// of its own, so that the client's CPU time and allocations stand alone.
const serverEnv = "RESPAWN_BENCHMARKS_SERVER"

const bodySize = 1 << 10

// An upstream is where the server listens.
type upstream struct {
	Plain, TLS  string // host:port
	Certificate []byte

	roots   *x509.CertPool
	command *exec.Cmd
	stdin   io.Closer
}

// startUpstream starts the server, which ends when its stdin does.
func startUpstream() (*upstream, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	u := &upstream{command: exec.Command(path)}
	u.command.Env = append(os.Environ(), serverEnv+"=1")
	u.command.Stderr = os.Stderr
	if u.stdin, err = u.command.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := u.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := u.command.Start(); err != nil {
		return nil, err
	}
	if err := json.NewDecoder(stdout).Decode(u); err != nil {
		return nil, errors.Join(fmt.Errorf("the server did not say where it listens: %w", err), u.close())
	}
	certificate, err := x509.ParseCertificate(u.Certificate)
	if err != nil {
		return nil, errors.Join(err, u.close())
	}
	u.roots = x509.NewCertPool()
	u.roots.AddCert(certificate)
	return u, nil
}

func (u *upstream) close() error {
	_ = u.stdin.Close()
	return u.command.Wait()
}

// serve is the server's process.
func serve(stdin io.Reader, stdout io.Writer) error {
	certificate, err := selfSigned()
	if err != nil {
		return err
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	secure, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	// Two servers: the first Serve of one settles whether it speaks HTTP/2.
	handler, quiet := http.HandlerFunc(answer), log.New(io.Discard, "", 0) // clients drop connections
	h1 := &http.Server{Handler: handler, ErrorLog: quiet}
	h2 := &http.Server{Handler: handler, ErrorLog: quiet, TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}}}
	ended := make(chan error, 3)
	go func() { ended <- h1.Serve(plain) }()
	go func() { ended <- h2.ServeTLS(secure, "", "") }()
	go func() {
		_, err := io.Copy(io.Discard, stdin)
		ended <- err
	}()
	if err := json.NewEncoder(stdout).Encode(upstream{
		Plain: plain.Addr().String(), TLS: secure.Addr().String(), Certificate: certificate.Certificate[0],
	}); err != nil {
		return err
	}
	return <-ended
}

// answer sends 1 KiB.
func answer(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(bodySize))
	_, _ = w.Write(make([]byte, bodySize)) // the client left: nobody to tell
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// A protocol is how a loopback workload speaks to the upstream.
type protocol struct {
	name   string
	url    string
	client func() *http.Transport
}

// h1 is HTTP/1.1, with TLS or without, h2 is HTTP/2 over TLS.
func (u *upstream) h1(secure bool) protocol {
	if !secure {
		return protocol{"h1", "http://" + u.Plain + "/", func() *http.Transport { return newTransport(nil, false) }}
	}
	return protocol{"h1 over TLS", "https://" + u.TLS + "/", func() *http.Transport { return newTransport(u.roots, false) }}
}

func (u *upstream) h2() protocol {
	return protocol{"h2", "https://" + u.TLS + "/", func() *http.Transport { return newTransport(u.roots, true) }}
}

func newTransport(roots *x509.CertPool, h2 bool) *http.Transport {
	t := &http.Transport{
		Protocols:           new(http.Protocols),
		MaxIdleConnsPerHost: 64, // all goroutines keep their connections
		TLSClientConfig:     &tls.Config{RootCAs: roots},
	}
	t.Protocols.SetHTTP1(!h2)
	t.Protocols.SetHTTP2(h2)
	return t
}
