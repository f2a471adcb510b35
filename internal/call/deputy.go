package call

import "net/http"

// The caller of an adopted call waits in the transport's RoundTrip, and learns what became
// of the call only when RoundTrip returns. Until a copy has to be sent, nobody needs to
// attend to the call. Then a deputy does, which is a goroutine of its own. When the caller
// is back, it hands the transport's result to the deputy, and gets the deputy's word.

// A word is the result that a deputy hands to the caller.
type word struct {
	resp     *http.Response
	err      error
	panicked any
	lost     bool // the deputy's goroutine was ended, by a panic perhaps
}

// deputize gives the call a deputy, if its caller is in the transport.
func (c *call) deputize() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.aboard && c.deputy == nil {
		c.deputy = make(chan word, 1)
		go c.standIn()
	}
}

// standIn runs the deputy.
func (c *call) standIn() {
	w := word{lost: true}
	defer func() {
		if w.lost {
			w.panicked = recover()
		}
		c.deputy <- w
	}()
	w.resp, w.err = c.conclude(c.goOn)
	w.lost = false
}

// goOn awaits the flights under way, and then takes the call to its end.
func (c *call) goOn() (*http.Response, error) {
	if c.Gate.Flying(&c.core) {
		if resp, err, done := c.await(); done {
			return resp, err
		}
	}
	return c.steps()
}

// disembark notes that the caller is back from the transport. It returns the deputy's
// channel; nil: there is none, and will be none.
func (c *call) disembark() <-chan word {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.aboard = false
	return c.deputy
}

// returned goes on with the call of a caller that is back.
func (c *call) returned(r result) (*http.Response, error) {
	deputy := c.disembark()
	if deputy == nil {
		return c.conclude(func() (*http.Response, error) {
			if resp, err, done := c.landed(r); done {
				return resp, err
			}
			return c.goOn()
		})
	}
	c.handIn(r)
	w := <-deputy
	if w.lost {
		result{panicked: w.panicked}.raise()
	}
	return w.resp, w.err
}

// lost ends the call of a caller whose transport did not return.
func (c *call) lost(fl *flight) {
	if deputy := c.disembark(); deputy != nil {
		c.handIn(result{flight: fl, lost: true})
		go func() { // nobody else takes the deputy's word, and its response
			result{resp: (<-deputy).resp}.close()
		}()
		return
	}
	fl.vanish()
	c.lender.Settle()
	c.finish()
}

// handIn gives a result to the goroutine that attends to the call or, if the call is over,
// to the core alone.
func (c *call) handIn(r result) {
	select {
	case c.results <- r:
	case <-c.over:
		c.late(r)
	}
}
