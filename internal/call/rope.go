package call

import (
	"context"
	"errors"
)

// A tether is a flight's context, as its call handles it.
type tether interface {
	pull()        // calls the flight back
	pulled() bool // the flight was called back before it ended
	drop()        // the flight is over
	untie()       // lets go of the caller's context: the caller has its whole answer
	loosen()      // the flight goes on without its caller
	loose() bool
}

var errPulled = errors.New("respawn: called back")

// A rope is the tether of a flight whose caller waits in the transport: its context
// is one of package context, which net/http handles best, and the flight never goes
// on without its caller. The zero value is of a flight that cannot be called back,
// which has its caller's context.
type rope struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
}

func newRope(caller context.Context) rope {
	ctx, cancel := context.WithCancelCause(caller)
	return rope{ctx, cancel}
}

func (r *rope) pull() {
	if r.cancel != nil {
		r.cancel(errPulled)
	}
}

func (r *rope) pulled() bool { return r.ctx != nil && context.Cause(r.ctx) == errPulled }

func (r *rope) drop() {
	if r.cancel != nil {
		r.cancel(context.Canceled)
	}
}

// untie cannot let go of the caller's context and leave the flight its own, so the flight is
// over. Nothing of it is under way: what has a context of its own here has no body to send.
func (r *rope) untie() { r.drop() }

func (r *rope) loosen() {}

func (r *rope) loose() bool { return false }
