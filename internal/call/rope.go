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
	untie() bool  // lets go of the caller's context; false: the flight cannot do without it
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

// untie cannot let go of the caller's context and leave the flight its own, which
// therefore lasts until the body is at its end or closed, or as long as the caller's.
func (r *rope) untie() bool { return false }

func (r *rope) loosen() {}

func (r *rope) loose() bool { return false }
