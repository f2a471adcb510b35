package testnet

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"time"
)

// Serve adds a host that serves HTTP/1 and unencrypted HTTP/2. Its server ends
// with the network; it has no timeouts.
func (n *Network) Serve(addr string, handler http.Handler) *Host {
	n.t.Helper()
	s := server(handler)
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	return n.run(addr, s, func(l net.Listener) { _ = s.Serve(l) })
}

// ServeTLS adds a host that serves HTTP/1 and HTTP/2 over TLS. Clients trust it
// by RootCAs.
func (n *Network) ServeTLS(addr string, handler http.Handler) *Host {
	n.t.Helper()
	name, _, err := net.SplitHostPort(addr)
	if err != nil {
		n.t.Fatalf("serve %s: %v", addr, err)
	}
	s := server(handler)
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetHTTP2(true)
	s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{n.authority().certify(name)}}
	return n.run(addr, s, func(l net.Listener) { _ = s.ServeTLS(l, "", "") })
}

func server(handler http.Handler) *http.Server {
	return &http.Server{Handler: handler, Protocols: new(http.Protocols), ErrorLog: log.New(io.Discard, "", 0)}
}

func (n *Network) run(addr string, s *http.Server, serve func(net.Listener)) *Host {
	n.t.Helper()
	h := n.Listen(addr)
	s.ConnState = n.serves
	n.mu.Lock()
	before := h.stopServer
	h.stopServer = func() error {
		if before != nil {
			_ = before()
		}
		return s.Close()
	}
	n.mu.Unlock()
	go serve(h)
	return h
}

// serves counts the connections that the network's servers have goroutines for.
func (n *Network) serves(_ net.Conn, state http.ConnState) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch state {
	case http.StateNew:
		n.serving++
	case http.StateHijacked, http.StateClosed:
		n.serving--
		if n.serving == 0 && n.served != nil {
			close(n.served)
			n.served = nil
		}
	}
}

// linger waits until the servers' goroutines have ended, since a synctest bubble cannot end before.
// Close has ended their connections, but net/http lingers for half a second on one whose request
// broke off in the body. For a handler that does not return, linger waits no longer than a second.
func (n *Network) linger() {
	n.mu.Lock()
	if n.serving == 0 {
		n.mu.Unlock()
		return
	}
	n.served = make(chan struct{})
	served := n.served
	n.mu.Unlock()
	select {
	case <-served:
	case <-time.After(time.Second):
	}
}

// HTTP1 returns a transport on this network that speaks HTTP/1, also over TLS
// to the hosts of ServeTLS.
func (n *Network) HTTP1() *http.Transport {
	return n.transport((*http.Protocols).SetHTTP1)
}

// HTTP2 returns a transport on this network that speaks HTTP/2, over TLS to
// https URLs and unencrypted to http URLs.
func (n *Network) HTTP2() *http.Transport {
	return n.transport((*http.Protocols).SetHTTP2, (*http.Protocols).SetUnencryptedHTTP2)
}

func (n *Network) transport(speaks ...func(*http.Protocols, bool)) *http.Transport {
	t := &http.Transport{
		DialContext:     n.DialContext,
		TLSClientConfig: &tls.Config{RootCAs: n.RootCAs()},
		Protocols:       new(http.Protocols),
	}
	for _, set := range speaks {
		set(t.Protocols, true)
	}
	return t
}

// RootCAs returns the pool that the certificates of ServeTLS are verified by.
func (n *Network) RootCAs() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(n.authority().cert)
	return pool
}

// An authority signs the certificates of a network's hosts.
type authority struct {
	n    *Network
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

// authority makes the network's authority when it is first needed.
func (n *Network) authority() *authority {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.signers == nil {
		a := &authority{n: n}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "testnet"},
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		}
		a.cert, a.key = a.sign(template, nil)
		n.signers = a
	}
	return n.signers
}

func (a *authority) certify(name string) tls.Certificate {
	template := &x509.Certificate{SerialNumber: big.NewInt(2)}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip} // clients look for an IP address nowhere else
	} else {
		template.DNSNames = []string{name}
	}
	cert, key := a.sign(template, a.cert)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
}

// sign returns a certificate for a new key, signed by parent or by itself. It
// is valid for a century, since virtual time can run far.
func (a *authority) sign(template, parent *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.n.t.Helper()
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().AddDate(100, 0, 0)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.n.t.Fatal(err)
	}
	signer := a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		a.n.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.n.t.Fatal(err)
	}
	return cert, key
}
