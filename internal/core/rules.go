package core

import "time"

// Rules are the settings of one client. They do not change.
type Rules struct {
	Threshold       int           // failures in a row that trip an authority, at least 1
	Stalls          int           // stalls that trip one; 0: stalls never do
	StallSpan       time.Duration // at least this long from the first stall to the last
	Patience        time.Duration // after which a wait without an answer is a stall
	RecreateTimeout time.Duration // of a build, and again of a trial
	Fallback        bool          // another transport serves what is tripped
}

// The numbers of the rules that nobody can set.
const (
	// headStart is what the transport in service gets before a copy is sent, and
	// a trial before it stops holding back others.
	headStart = time.Second
	// headShare bounds the head start by what its caller has left: a quarter.
	headShare = 4
	// trialParts: a trial that its caller's leaving ends is no verdict if it had less than
	// two of three parts of the caller's time.
	trialParts = 3
	// answerGap is how much longer than its copy's answer a control must stay
	// silent: an event that answers both is no proof.
	answerGap = 100 * time.Millisecond
	// leaving: who leaves sooner without an answer may have changed its mind.
	leaving = time.Second
	// slack: an attempt that is still under way on a connection counts as one that did
	// not fail once it has lasted longer than slack times the longest failure.
	slack = 2
	// longAgo: a control that took so long to fail may have met an outage that is over.
	longAgo = 2 * time.Second
	// readyFor is how long a candidate that nobody tries stays.
	readyFor = 5 * time.Minute
	// doubtFor is how long a candidate's answer waits for its control. It is less than
	// readyFor: if nobody asks, the candidate would be over soon.
	doubtFor = 4 * time.Minute
	// roundRest is the pause between two rounds of a call that waits for ready.
	roundRest = time.Second
	// leastRest is the least pause after a build that failed: where the policy has
	// none, a factory that fails at once would be called without end.
	leastRest = 100 * time.Millisecond
	// calm is for how long an authority must have been without an outage, and the
	// client without a swap for need, for the next trip to be news.
	calm = time.Minute
	// vainFor is how long it is remembered that a promotion did not help.
	vainFor = 10 * time.Minute
	// mostAttempts bounds the attempts of a call before its last two (spare).
	mostAttempts = 3
	// moreAnswers is how many times as many answers in a row a proof takes after
	// a promotion that did not help, and mostAnswers the bound.
	moreAnswers = 4
	mostAnswers = 8
	// mostMissed bounds how many failed trials count for each answer of a proof: what failed
	// in an outage of the upstream says little about what comes after that.
	mostMissed = 4
	// onceEvery is how many intervals pass between two requests that leave the
	// fallback to ask the transport in service, where they are asked once.
	onceEvery = 4

	// suspectFor and outageFor are how long an authority is remembered that did
	// not fail any more, or was not asked for.
	suspectFor = 5 * time.Minute
	outageFor  = 10 * time.Minute

	// The bounds of what hostile names can take.
	maxSuspects  = 256
	maxMemories  = 256
	maxWitnesses = 8
	maxMethods   = 8
)
