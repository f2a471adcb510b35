package core

import "time"

var (
	get  = template{kind: Copyable}
	put  = template{kind: Repeatable}
	post = template{kind: Once}
	seal = template{kind: Sealed}
	getB = template{host: 1, kind: Copyable}
	seaB = template{host: 1, kind: Sealed}
	posB = template{host: 1, kind: Once}
	wait = template{kind: Repeatable, ready: 5 * time.Second}
)

func (t template) times(n int) template            { t.lives = n; return t }
func (t template) unseen() template                { t.adopted = true; return t }
func (t template) within(d time.Duration) template { t.deadline = d; return t }

var (
	some = []change{{serving, 0, works}, {serving, 0, refuses}, {serving, 0, mute}, {asCandidate, 0, mute}, {serving, 0, slow}}
	more = []change{
		{serving, 0, works}, {serving, 0, refuses}, {serving, 0, breaks}, {serving, 0, mute}, {serving, 0, hangs}, {serving, 0, timesOut},
		{asCandidate, 0, works}, {asCandidate, 0, refuses}, {asCandidate, 0, mute}, {serving, 1, refuses},
	}
)

var (
	aboard = []change{{serving, 0, mute}, {serving, 0, slow}, {serving, 0, works}, {asCandidate, 0, mute}, {asCandidate, 0, works}}

	hand = []change{{serving, 0, refuses}, {asCandidate, 0, mute}, {asCandidate, 0, hangs}, {asCandidate, 0, breaks}}

	// halfway is how the next request comes to try a planned candidate first.
	halfway = []string{"POST b begins", "Recreate", "built", "time"}

	// refusal is how a GET of a comes to refuse a candidate, and its interval passes.
	refusal = []string{
		"GET a begins", "GET a is refused in service", "GET a asks", "built", "GET a asks", "GET a is refused in service", "GET a asks",
		"GET a is refused on the candidate", "GET a asks", "time",
	}
)

func rules(threshold int) Rules {
	return Rules{Threshold: threshold, Stalls: 2, StallSpan: time.Second, Patience: 2 * time.Second, RecreateTimeout: 4 * time.Second}
}

func worlds() []*setting {
	one, two := rules(1), rules(2)
	quick := rules(1)
	quick.Stalls, quick.StallSpan, quick.Patience, quick.RecreateTimeout = 1, 0, time.Second, 20*time.Second
	withFallback := rules(1)
	withFallback.Fallback = true
	gone := [2][2]mode{{refuses, works}, {works, works}}
	down := [2][2]mode{{refuses, works}, {refuses, works}}
	broken := [2][2]mode{{breaks, breaks}, {breaks, works}}
	dark := [2][2]mode{{mute, mute}, {works, mute}}
	well := [2][2]mode{}
	return append(append(everything(), together()...), []*setting{
		{name: "refused", Rules: one, calls: []template{get.times(2), post, wait}, modes: gone, changes: some, nChanges: 2, nLeaves: 1, depth: 6},
		{name: "upstream down", Rules: two, calls: []template{put.times(2), post, getB}, modes: down, changes: more, nChanges: 2, nLeaves: 1, depth: 6},
		{name: "broken", Rules: one, calls: []template{get.times(2), post, posB}, modes: broken, changes: some, nChanges: 2, nLeaves: 1, depth: 6},
		{name: "dark", Rules: one, calls: []template{get.times(2), post, getB}, modes: dark, changes: some, nChanges: 1, nLeaves: 2, patient: true, depth: 7},
		{name: "dark GETs", Rules: one, calls: []template{get, get, getB}, modes: dark, changes: some, nChanges: 1, nLeaves: 1, patient: true, connects: true, depth: 7},
		{name: "dark once only", Rules: one, calls: []template{post.times(2), put, post}, modes: dark, changes: some, nChanges: 1, nLeaves: 1, patient: true, connects: true, depth: 7},
		{name: "anything", Rules: one, calls: []template{get.times(3).unseen(), post, getB}, modes: well, changes: more, nChanges: 3, nLeaves: 1, nVanish: 1, nLocal: 1, untyped: true, neutral: true, depth: 6},
		{name: "in the transport", Rules: two, calls: []template{get.times(2).unseen(), post.unseen(), getB.unseen()}, modes: well, changes: aboard, nChanges: 2, nLeaves: 1, nHand: 1, stays: true, patient: true, depth: 6,
			prefix: []string{"GET a begins", "POST a begins", "GET b begins", "in service for a: is silent", "time"}},
		{name: "after a late copy, in the transport", Rules: quick, calls: []template{get.times(2).unseen(), post.times(2), getB.unseen()}, modes: well, changes: aboard, nChanges: 4, nLeaves: 1, nJumps: 1, stays: true, patient: true, connects: true, depth: 5,
			prefix: []string{"GET a begins", "in service for a: is silent", "on the candidate for a: is silent", "time", "is a stall", "built", "connects", "time jumps 7 s"}},
		{name: "one place", Rules: one, calls: []template{get.times(2), get.times(2), post.times(2), getB}, modes: dark, changes: aboard, nChanges: 2, nLeaves: 1, places: 1, patient: true, depth: 6},
		{name: "one place, once only", Rules: one, calls: []template{post.times(2), post.times(2), get, put}, modes: dark, changes: aboard, nChanges: 2, nLeaves: 1, places: 1, patient: true, depth: 6},
		{name: "one place, held for long", Rules: one, calls: []template{post, get.times(2), post.times(2)}, modes: [2][2]mode{{mute, works}, {works, works}}, changes: aboard, nChanges: 2, nLeaves: 1, places: 1, patient: true, depth: 6,
			prefix: []string{"POST a begins", "time", "is a stall", "GET a begins", "time", "is a stall"}},
		{name: "slow bodies", Rules: one, calls: []template{put.times(2), put.times(2), post.times(2), get}, modes: gone, changes: some, nChanges: 1, nLeaves: 1, patient: true, connects: true, fetches: true, depth: 6},
		{name: "slow bodies, dark", Rules: one, calls: []template{post.times(2), post.times(2), get, put}, modes: dark, changes: some, nChanges: 1, nLeaves: 1, patient: true, fetches: true, depth: 6},
		{name: "slow bodies, replaced", Rules: one, calls: []template{get.times(2), put.times(2), post.times(2)}, modes: gone, changes: some, nChanges: 1, nLeaves: 1, nVanish: 1, patient: true, connects: true, fetches: true, depth: 5,
			prefix: []string{"POST a begins", "PUT a begins", "GET a begins", "GET a is refused in service", "GET a asks", "built", "GET a asks", "GET a is refused in service", "GET a asks"}},
		{name: "undecided", Rules: two, calls: []template{get.times(2), get, get, put}, modes: gone, changes: []change{{serving, 0, mute}, {serving, 0, refuses}, {serving, 0, works}}, nChanges: 4, nLeaves: 1, patient: true, connects: true, depth: 5,
			prefix: []string{"GET a begins", "GET a is refused in service", "in service for a: is silent", "GET a begins", "connects", "GET a begins", "connects", "time", "in service for a: refuses", "GET a asks", "GET a is refused in service", "GET a asks"}},
		{name: "by hand", Rules: one, calls: []template{get, post, getB}, modes: gone, changes: some, nChanges: 1, nLeaves: 1, nHand: 1, abandon: true, depth: 6},
		{name: "by age", Rules: one, calls: []template{get, getB, post}, modes: well, changes: some, nChanges: 2, nLeaves: 1, age: true, depth: 6},
		{name: "ended", Rules: one, calls: []template{get, post, wait}, modes: well, changes: some, nChanges: 1, nLeaves: 1, nEnds: 2, nSpoils: 1, closes: true, depth: 7},
		{name: "nothing yet", Rules: one, calls: []template{get, post, wait}, modes: gone, changes: some, nChanges: 1, nLeaves: 1, nHand: 1, nEnds: 1, abandon: true, absent: true, closes: true, depth: 6},
		{name: "nothing yet, fallback", Rules: withFallback, calls: []template{get, post, getB}, modes: well, changes: some, nChanges: 1, nHand: 1, age: true, absent: true, depth: 7},
		{name: "fallback", Rules: withFallback, calls: []template{get.times(3), post.times(2), getB}, modes: gone, changes: some, nChanges: 2, nLeaves: 1, nJumps: 1, depth: 6},
		{name: "fallback, ended", Rules: withFallback, calls: []template{put.within(3 * time.Second), get, post.within(3 * time.Second)}, modes: [2][2]mode{{timesOut, works}, {works, works}}, changes: some, nChanges: 1, nEnds: 2, patient: true, depth: 6},
		{name: "deadlines", Rules: two, calls: []template{get.times(3).within(3 * time.Second), put.within(6 * time.Second), post.within(4 * time.Second)}, modes: dark, nVanish: 1, patient: true, depth: 8},
		{name: "by hand, nothing to copy", Rules: one, calls: []template{post.times(3), put.times(2), posB}, modes: well, changes: hand, nChanges: 1, nLeaves: 1, nHand: 1, abandon: true, connects: true, depth: 7,
			prefix: []string{"POST a begins", "Recreate", "built", "time"}},
		{name: "by hand, and it trips", Rules: one, calls: []template{post.times(3), put.times(2), posB, post}, modes: [2][2]mode{{breaks, works}, {hangs, works}}, changes: hand, nChanges: 1, nLeaves: 1, nHand: 1, connects: true, depth: 6,
			prefix: append(halfway[:4:4], "POST a begins", "PUT a begins", "PUT a breaks in service")},
		{name: "by hand, hurried", Rules: one, calls: []template{post.times(3).within(3 * time.Second), put.times(3).within(2 * time.Second), posB, get}, modes: [2][2]mode{{breaks, works}, {hangs, works}}, changes: hand, nChanges: 1, nLeaves: 1, nVanish: 1, nHand: 1, connects: true, depth: 6,
			prefix: halfway},
		{name: "by hand, patient", Rules: one, calls: []template{post.times(3), put.times(2), posB, get}, modes: [2][2]mode{{mute, works}, {mute, works}}, changes: hand, nChanges: 2, nLeaves: 1, nHand: 1, connects: true, patient: true, depth: 6,
			prefix: halfway},
		{name: "after a refusal", Rules: one, calls: []template{get.times(3), post.times(2), getB.times(2)}, modes: down, changes: some, nChanges: 2, nLeaves: 1, nSpoils: 1, depth: 6, prefix: refusal},
		{name: "after a refusal, threshold 2", Rules: two, calls: []template{put.times(3), get.times(3), wait.times(2)}, modes: down, changes: some, nChanges: 2, nHand: 1, depth: 6,
			prefix: append([]string{"GET a begins", "GET a is refused in service", "GET a asks"}, refusal[1:]...)},
		{name: "after a refusal, fallback", Rules: withFallback, calls: []template{get.times(4), post.times(3), getB}, modes: down, changes: some, nChanges: 2, nJumps: 1, draws: true, depth: 6, prefix: refusal},
		{name: "after a silent candidate", Rules: one, calls: []template{get.times(4), post.times(2), getB}, modes: [2][2]mode{{mute, works}, {mute, works}}, changes: some, nChanges: 2, nLeaves: 1, patient: true, depth: 6,
			prefix: []string{"GET a begins", "time", "is a stall", "time", "is a stall", "built", "connects"}},
		{name: "after an answered copy", Rules: one, calls: []template{get.times(2), put.times(2), post.times(2), getB}, modes: [2][2]mode{{mute, works}, {works, works}}, changes: some, nChanges: 2, nLeaves: 1, patient: true, depth: 6,
			prefix: []string{"GET a begins", "time", "is a stall", "time", "is a stall", "built", "is answered on the candidate"}},
		{name: "after a promotion", Rules: one, calls: []template{get.times(4), post.times(2), getB.times(2)}, modes: gone, changes: some, nChanges: 2, nLeaves: 1, nEnds: 1, patient: true, depth: 6, prefix: append(refusal[:7:7], "is answered on the candidate")},
	}...)
}

// everything: whatever can be put together, with each of the rules. There is so much of it that only
// TestWander comes far.
func everything() []*setting {
	all := setting{
		calls: []template{
			get.times(9).unseen(), post.times(9), wait.times(9), getB.times(9), put.times(9), posB.times(9), seal.times(3),
			get.times(9).within(5 * time.Second),
		},
		changes: more, nChanges: 9, nLeaves: 9, nJumps: 3, nLocal: 2, nHand: 2, nEnds: 2, nSpoils: 2, nVanish: 2,
		abandon: true, age: true, closes: true, connects: true, untyped: true, draws: true, lateTimer: true, patient: true,
		neutral: true, fetches: true, stays: true, depth: 2, places: 2,
	}
	one, two, other := all, all, all
	one.name, one.Rules, one.modes = "everything", rules(1), [2][2]mode{{refuses, works}, {works, works}}
	two.name, two.Rules, two.modes = "everything, threshold 2", rules(2), [2][2]mode{{mute, mute}, {works, mute}}
	other.name, other.Rules, other.modes = "everything, fallback", rules(1), [2][2]mode{{breaks, works}, {refuses, works}}
	other.Fallback = true
	return []*setting{&one, &two, &other}
}
