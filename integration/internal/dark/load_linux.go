package dark

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Load is what callers do: a request of that method each period, with that deadline.
type Load struct {
	Method   string
	Period   time.Duration
	Deadline time.Duration
	Limit    time.Duration                             // how long it goes on in the dark at most
	Wrap     func(http.RoundTripper) http.RoundTripper // nil: the bare transport
}

// A Result is what became of a Load's requests once their connection had gone dark.
type Result struct {
	Sent, Lost int
	Twice      int           // requests that the server got more than once
	First      time.Duration // until the first answer; 0: there was none
}

// enough is how many answers in a row end an incident.
const enough = 20

// Run makes a server and its client, puts load on them, and lets their connection go
// dark.
func (load Load) Run() (Result, error) {
	n, err := New()
	if err != nil {
		return Result{}, err
	}
	defer n.Close()
	var got sync.Map
	r := &run{Load: load}
	server, err := n.serve(func(w http.ResponseWriter, req *http.Request) {
		if _, again := got.LoadOrStore(req.Header.Get("X-Id"), true); again {
			r.twice()
		}
	})
	if err != nil {
		return Result{}, err
	}
	defer server.Close()
	defer server.CloseClientConnections()
	var rt http.RoundTripper = n.transport(server.Certificate())
	if load.Wrap != nil {
		rt = load.Wrap(rt)
	}
	if c, ok := rt.(io.Closer); ok {
		defer c.Close()
	}
	r.client = &http.Client{Transport: rt, Timeout: load.Deadline}
	defer r.client.CloseIdleConnections()
	if err := r.warm(); err != nil {
		return Result{}, err
	}
	if err := n.GoDark(); err != nil {
		return Result{}, err
	}
	return r.incident(), nil
}

func (n *Network) serve(handler http.HandlerFunc) (*httptest.Server, error) {
	l, err := n.Listen()
	if err != nil {
		return nil, err
	}
	server := httptest.NewUnstartedServer(handler)
	server.Listener.Close()
	server.Listener = l
	server.EnableHTTP2 = true
	server.StartTLS()
	return server, nil
}

// transport is http.DefaultTransport, but for where it dials and whom it trusts.
func (n *Network) transport(certificate *x509.Certificate) *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DialContext = n.DialContext
	t.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool()}
	t.TLSClientConfig.RootCAs.AddCert(certificate)
	return t
}

// A run is a Load under way.
type run struct {
	Load
	client *http.Client
	began  time.Time // of the incident

	mu     sync.Mutex // guards the below
	result Result
	row    int // answers since the last request that was lost
}

func (r *run) twice() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Twice++
}

// warm lets the client have its connection.
func (r *run) warm() error {
	for range 5 {
		if err := r.send("warm"); err != nil {
			return err
		}
	}
	r.result = Result{}
	return nil
}

// incident is the load, from when the connection goes dark until the incident is over.
func (r *run) incident() Result {
	r.began = time.Now()
	tick := time.NewTicker(r.Period)
	defer tick.Stop()
	var wg sync.WaitGroup
	for i := 0; !r.over(); i++ {
		wg.Go(func() { r.note(r.send(strconv.Itoa(i))) })
		<-tick.C
	}
	wg.Wait()
	return r.result
}

func (r *run) over() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.row >= enough || time.Since(r.began) > r.Limit
}

func (r *run) note(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Sent++
	if err != nil {
		r.result.Lost++
		r.row = 0
		return
	}
	r.row++
	if r.result.First == 0 {
		r.result.First = time.Since(r.began)
	}
}

func (r *run) send(id string) error {
	var body io.Reader
	if r.Method == http.MethodPost {
		body = strings.NewReader("hello")
	}
	req, err := http.NewRequest(r.Method, "https://example.com/", body) // the name in httptest's certificate
	if err != nil {
		return err
	}
	req.Header.Set("X-Id", id)
	resp, err := r.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}
