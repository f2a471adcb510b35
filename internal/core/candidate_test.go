package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Who ordered a candidate hears what has become of it, and so do those who read reports.
func TestTheEndOfACandidateIsTold(t *testing.T) {
	s := newScene(t)
	for i := range 2 {
		o := &Order{}
		s.Recreate(s.now, o)
		id := s.Candidate()
		s.now = s.now.Add(time.Second)
		s.NotBuilt(s.now, id, "factory_error", Draw{})
		todo := s.Todo()
		require.Equal(t, []*Order{o}, todo.Done)
		kind, done := o.Done()
		assert.True(t, done)
		assert.Equal(t, "factory_error", kind)
		assert.Equal(t, []Report{{Seq: uint64(i + 1), At: s.now, What: WasRejected, Candidate: id, Kind: "factory_error"}}, todo.Reports)
	}
}

// A planned candidate is put in service when its time is over, unless a try was in vain: what
// it failed to answer was answered in service, or can be asked only once.
func TestWhatIsPlannedIsPutInServiceUnlessItWasTriedInVain(t *testing.T) {
	post := func(s *scene) *Attempt {
		s.halfway()
		try := s.does(s.call(Once, "POST"), Try)
		s.Asks(try, false)
		s.Connected(s.now, try)
		return try
	}
	for name, tt := range map[string]struct {
		try  func(*scene)
		want bool
	}{
		"neither is answered": {func(s *scene) { s.tried() }, true},
		"the control is answered": {func(s *scene) {
			control, _ := s.tried()
			s.Answered(s.now, control)
		}, false},
		"the control is answered, and the try says nothing": {func(s *scene) {
			control, copied := s.tried()
			s.Answered(s.now, control)
			s.Failed(s.now, copied, Outcome{Trigger: "_OTHER"})
		}, false},
		"the try says nothing, and the control is answered": {func(s *scene) {
			control, copied := s.tried()
			s.Failed(s.now, copied, Outcome{Trigger: "_OTHER"})
			s.Answered(s.now, control)
		}, false},
		"the control is answered, and the try says nothing, since its caller left": {func(s *scene) {
			control, copied := s.tried()
			s.Answered(s.now, control)
			s.Failed(s.now, copied, Outcome{Trigger: "_OTHER", Left: true})
		}, true},
		"neither says anything": {func(s *scene) {
			control, copied := s.tried()
			s.Failed(s.now, copied, Outcome{Trigger: "_OTHER"})
			s.Failed(s.now, control, Outcome{Trigger: "_OTHER"})
		}, true},
		"the candidate fails, and the control is silent": {func(s *scene) {
			_, copied := s.tried()
			s.Failed(s.now, copied, lost)
		}, true},
		"it fails the same request twice, and the second time says nothing": {func(s *scene) {
			control, copied := s.tried()
			s.Failed(s.now, control, lost)
			s.Failed(s.now, copied, lost)
			s.Failed(s.now, s.asks(), lost)
			s.Failed(s.now, s.asks(), lost)
			s.Failed(s.now, s.does(control.Call, Try), Outcome{Again: true})
		}, true},
		"it is silent about what can be asked only once": {func(s *scene) { post(s) }, true},
		"it fails what can be asked only once": {func(s *scene) {
			s.Failed(s.now, post(s), Outcome{Verdict: Failure, Trigger: "connection_reset"})
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			tt.try(s)
			fresh := s.Candidate()
			s.now = simStart.Add(s.rules.RecreateTimeout)
			s.Tick(s.now)
			assert.Zero(t, s.Candidate())
			assert.Equal(t, tt.want, s.Current() == fresh)
		})
	}
}

// The healthy path is left by all requests only where any of them may try what is planned, or
// the transport in service has ended.
func TestWhenEverybodyHasToAsk(t *testing.T) {
	for name, tt := range map[string]struct {
		when func(*scene)
		want bool
	}{
		"all is well":                  {func(*scene) {}, false},
		"a candidate for an authority": {func(s *scene) { s.tripped("a.test", Wait); s.Built(s.now, s.cand.id, false, Draw{}) }, false},
		"a planned one is being built": {func(s *scene) { s.Recreate(s.now, &Order{}) }, false},
		"a planned one is ready":       {func(s *scene) { s.Recreate(s.now, &Order{}); s.Built(s.now, s.cand.id, false, Draw{}) }, true},
		"the transport has ended":      {func(s *scene) { s.Ended(s.now, 1, false) }, true},
	} {
		s := newScene(t)
		tt.when(s)
		assert.Equal(t, tt.want, s.Everybody(), name)
	}
}
