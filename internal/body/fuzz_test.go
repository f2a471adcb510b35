package body

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What a fuzzed body does next; the low bits of a byte.
const (
	lends     = iota // to the next attempt
	reads            // the newest attempt, all that it can get at once
	readsLate        // the attempt before, which is over
	readsNone        // the newest, and gets nothing yet
	fails            // the same, and the body breaks
	blocks           // the same, and the Read does not return yet
	returns          // that Read
	closes           // the newest attempt's transport
	kinds
)

// A fuzzedBody does what it is told in its next Read, and counts its Closes.
type fuzzedBody struct {
	next    int
	entered chan struct{}
	release chan int // how many bytes the Read that blocks gets
	got     int
	closed  int
}

var errBroken = errors.New("the caller's body is broken")

func (b *fuzzedBody) Read(p []byte) (int, error) {
	n := 0
	switch b.next {
	case readsNone:
	case fails:
		return 0, errBroken
	case blocks:
		b.entered <- struct{}{}
		n = <-b.release
	default:
		n = copy(p, "payload")
	}
	b.got += n
	return n, nil
}

func (b *fuzzedBody) Close() error { b.closed++; return nil }

// A play is one call's body over its attempts, as net/http may treat it.
type play struct {
	t         *testing.T
	lender    Lender
	once      bool          // there is no GetBody
	made      []*fuzzedBody // the caller's, and what GetBody gave
	holders   []*http.Request
	blocked   chan struct{} // closed when the Read that blocks has returned; nil if none does
	blockedIn *fuzzedBody
	broken    bool
}

// body is what the newest attempt reads.
func (p *play) body() *fuzzedBody { return p.made[len(p.made)-1] }

func (p *play) step(op byte) {
	if len(p.holders) == 0 {
		op = lends
	}
	switch op % kinds {
	case lends:
		p.lend()
	case readsLate:
		if n := len(p.holders); n > 1 && p.once {
			p.body().next = reads
			if got, err := p.holders[n-2].Body.Read(make([]byte, 8)); got > 0 || err == nil {
				p.t.Error("an attempt that is over has eaten bytes of the next one's body")
			}
		}
	case blocks:
		p.block()
	case returns:
		p.unblock(int(op) / kinds % 2)
	case closes:
		_ = p.holders[len(p.holders)-1].Body.Close()
	default:
		p.read(int(op % kinds))
	}
	p.check()
}

func (p *play) lend() {
	left := p.lender.Left()
	req, err := p.lender.Lend()
	switch {
	case left != (err == nil):
		p.t.Errorf("Left says %t, and Lend %v", left, err)
	case err != nil:
		return
	case p.once && len(p.holders) > 0 && (p.made[0].got > 0 || p.broken || p.blocked != nil):
		p.t.Errorf("the body is lent again: %d bytes were read, it is broken: %t, it is being read: %t", p.made[0].got, p.broken, p.blocked != nil)
	}
	p.holders = append(p.holders, req)
}

func (p *play) read(how int) {
	if p.blocked != nil {
		return // net/http reads a body in one goroutine
	}
	p.body().next = how
	_, err := p.holders[len(p.holders)-1].Body.Read(make([]byte, 8))
	p.broken = p.broken || err == errBroken
}

func (p *play) block() {
	if p.blocked != nil {
		return
	}
	b, holder := p.body(), p.holders[len(p.holders)-1]
	b.next = blocks
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = holder.Body.Read(make([]byte, 8))
	}()
	select {
	case <-b.entered:
		p.blocked, p.blockedIn = done, b
	case <-done: // it may not read any more
	}
}

func (p *play) unblock(n int) {
	if p.blocked == nil {
		return
	}
	p.blockedIn.release <- n
	<-p.blocked
	p.blocked = nil
}

// check: what was read is known, and nothing is closed that could still be sent.
func (p *play) check() {
	newest := p.holders[len(p.holders)-1]
	if p.blocked == nil && Touched(newest) != (p.body().got > 0) {
		p.t.Errorf("%d bytes were read, and Touched says %t", p.body().got, Touched(newest))
	}
	for _, b := range p.made {
		if b.closed > 1 {
			p.t.Errorf("a body was closed %d times", b.closed)
		}
	}
	if p.made[0].closed > 0 && p.once && p.lender.Left() {
		p.t.Error("a body that is closed is still to be had")
	}
}

// end: each attempt's transport closes what it has, as it must, and the call is over.
func (p *play) end(settleFirst bool) {
	if settleFirst {
		p.lender.Settle()
	}
	p.unblock(1)
	for _, h := range p.holders {
		_ = h.Body.Close()
	}
	if !settleFirst {
		p.lender.Settle()
	}
	for i, b := range p.made {
		if b.closed != 1 {
			p.t.Errorf("body %d of %d was closed %d times", i+1, len(p.made), b.closed)
		}
	}
}

// Bodies that are read, broken, slow and closed at any moment of any attempt: each is
// closed once, and never handed out again after a byte of it was read.
func FuzzBody(f *testing.F) {
	for _, seed := range []string{
		"\x00\x07\x00\x07\x00\x01\x07",     // unread attempts, then one that reads
		"\x00\x03\x07\x00\x01",             // a Read that gets nothing is no byte
		"\x00\x00\x02\x01",                 // a late Read
		"\x00\x05\x07\x00\x06\x00",         // closed and lent while a Read is blocked, which gets nothing
		"\x00\x05\x07\x00\x0e\x00",         // the same, and it gets a byte
		"\x00\x04\x00\x07\x00",             // broken
		"\x00\x01\x07\x00\x01\x07\x00\x07", // read and had again, with GetBody
	} {
		for _, getBody := range []bool{false, true} {
			f.Add([]byte(seed), getBody, getBody)
		}
	}
	f.Fuzz(func(t *testing.T, steps []byte, getBody, settleFirst bool) {
		p := &play{t: t, once: !getBody}
		next := func() *fuzzedBody {
			p.made = append(p.made, &fuzzedBody{entered: make(chan struct{}), release: make(chan int)})
			return p.body()
		}
		req, _ := http.NewRequest(http.MethodPost, "http://a.test/", next())
		if getBody {
			req.GetBody = func() (io.ReadCloser, error) { return next(), nil }
		}
		p.lender = NewLender(req, Idempotent)
		for _, op := range steps[:min(len(steps), 64)] {
			p.step(op)
		}
		p.end(settleFirst)
	})
}

// Whatever else is done with a request, the types that net/http looks for reach it.
func TestTypesThatNetHTTPLooksForAreLentAsTheyAre(t *testing.T) {
	for _, content := range []io.Reader{bytes.NewReader([]byte(payload)), bytes.NewBufferString(payload), strings.NewReader(payload)} {
		for _, replay := range []Replay{Idempotent, Unsent, Never} {
			req, err := http.NewRequest(http.MethodPost, "http://a.test/", content)
			if err != nil {
				t.Fatal(err)
			}
			lender := NewLender(req, replay)
			if sent, err := lender.Lend(); err != nil || sent.Body != req.Body {
				t.Errorf("%T, replay %d: the first attempt gets a %T", content, replay, sent.Body)
			}
		}
	}
}

// A pipe may keep everybody waiting, and a directory cannot be read: both are watched, as
// readers of no known type are.
func TestWhatIsNoFileOnADiskIsWatched(t *testing.T) {
	pipe, end, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	defer end.Close()
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	for _, file := range []*os.File{pipe, dir} {
		for _, body := range []io.ReadCloser{file, io.NopCloser(file)} {
			req, err := http.NewRequest(http.MethodPost, "http://a.test/", body)
			if err != nil {
				t.Fatal(err)
			}
			lender := NewLender(req, Idempotent)
			if sent, err := lender.Lend(); err != nil || sent.Body == req.Body || File(sent) != nil {
				t.Errorf("%s: the first attempt gets a %T", file.Name(), sent.Body)
			}
		}
	}
}

// A file that is shorter or longer than its request says makes the attempt fail, and what net/http
// says then may be that the connection was closed: somebody has to look on.
func TestAFileThatDoesNotFitIsWatched(t *testing.T) {
	const size = 100
	path := filepath.Join(t.TempDir(), "upload")
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		at, length int
		misfits    bool
	}{
		{0, size, false}, {size / 2, size / 2, false}, {size / 2, -1, false}, {size / 2, size, true}, {0, size - 1, true}, {0, size + 1, true},
	} {
		for _, hide := range []bool{false, true} {
			file, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := file.Seek(int64(c.at), io.SeekStart); err != nil {
				t.Fatal(err)
			}
			req, err := http.NewRequest(http.MethodPost, "http://a.test/", file)
			if err != nil {
				t.Fatal(err)
			}
			if hide {
				req.Body = io.NopCloser(file)
			}
			req.ContentLength = int64(c.length)
			lender := NewLender(req, Idempotent)
			sent, err := lender.Lend()
			if err != nil {
				t.Fatal(err)
			}
			if straight := File(sent) != nil; straight != (!c.misfits && !hide) {
				t.Errorf("%+v: it is sent straight from its disk: %t", c, straight)
			}
			_, _ = io.Copy(io.Discard, sent.Body)
			if Misfits(sent) != c.misfits {
				t.Errorf("%+v: it misfits: %t", c, Misfits(sent))
			}
			lender.Settle()
			Close(sent)
			_ = file.Close()
		}
	}
}
