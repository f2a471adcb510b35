package respawntest

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/build"
)

// fault returns why the product of a call cannot be put in service; nil if it can.
func (i *inspection) fault(p *product) error {
	if err := p.failure(); err != nil {
		return err
	}
	return i.unfit(p.transport)
}

// failed reports whether the factory has returned an error, as it should.
func (p *product) failed() bool {
	return p.err != nil && build.IsNil(p.transport) && !p.panicked && !errors.Is(p.err, build.ErrExited)
}

// failure returns why a call produced no transport; nil if it produced one.
func (p *product) failure() error {
	isNil := build.IsNil(p.transport)
	switch {
	case errors.Is(p.err, errHangs):
		return fmt.Errorf("the factory had not returned %v after the end of its context, which lasted for %v: pass the context on to whatever it waits for", grace, buildLimit)
	case errors.Is(p.err, build.ErrExited):
		return fmt.Errorf("%w: return an error instead of t.FailNow or the like, which does not belong in a factory", p.err)
	case p.panicked:
		return fmt.Errorf("%w: return an error", p.err)
	case p.err != nil && !isNil:
		return fmt.Errorf("the factory returned a transport beside an error (%w): nobody closes that transport; close it in the factory, and return nil with the error", p.err)
	case p.err != nil:
		return fmt.Errorf("the factory failed (%w): it has to work in the test, too", p.err)
	case p.transport == nil:
		return errors.New("the factory returned nil and no error: return an error that says why there is no transport")
	case isNil:
		return fmt.Errorf("the factory returned a nil %T in an interface, which is not nil: check the error before converting the pointer to a RoundTripper, and return a plain nil with the error", p.transport)
	case p.late:
		return fmt.Errorf("the factory took longer than %v: by default respawn waits twice that long (WithRecreateTimeout), and requests wait, too", buildLimit)
	}
	return nil
}

// unfit returns why respawn would refuse a transport; nil if it would not.
func (i *inspection) unfit(t http.RoundTripper) error {
	if err := i.owned(t); err != nil {
		return err
	}
	if e, ok := t.(interface{ Err() error }); ok && build.SaysEnded(e) {
		return fmt.Errorf("the factory returned a transport that has ended already (Err: %w): return nil and that error", e.Err())
	}
	return nil
}

// owned returns whose a transport is; nil if it is new.
func (i *inspection) owned(t http.RoundTripper) error {
	switch {
	case build.Shares(t, http.DefaultTransport):
		return errors.New("the factory returned http.DefaultTransport, or a wrapper around it: that one belongs to the whole process, so use a Clone of it")
	case build.Shares(t, i.base):
		return errors.New("the factory returned base, or a wrapper around it: build a new transport, since base is dead when the factory is called")
	case recovers(t):
		return errors.New("the factory returned a RecoveringRoundTripper, or a wrapper around one: both would count failures and wait, so return the transport beneath it")
	}
	return nil
}

// recovers reports whether t goes through respawn, as far as it can be seen.
func recovers(t http.RoundTripper) bool {
	rt, _ := build.Outermost[*respawn.RecoveringRoundTripper](t)
	return rt != nil
}
