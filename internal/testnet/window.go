package testnet

import "time"

// What a sender does before a closed window: it probes, since the news that the
// window is open can be lost. Probes that would be answered change nothing, so
// they are not sent: the timer runs only while packets are dropped or
// TCP_USER_TIMEOUT may end the wait. Otherwise time would go on forever in a
// bubble whose goroutines are all stuck.

// awaitProbe sets the timer for the next probe.
func (f *flow) awaitProbe() {
	if f.timer.isSet() || !f.link.dark && f.from.userTimeout <= 0 {
		return
	}
	// Probes that would have been answered, and were not sent, doubled the wait, too.
	next := f.blocked.Add(f.rto())
	for doublings := 1; !next.After(time.Now()); doublings++ {
		if f.probed.IsZero() {
			f.probed = next
		}
		next = next.Add(backedOff(f.rto(), doublings))
	}
	f.wait(time.Until(next), f.probed, f.probe)
}

// probe asks whether the window is open, or gives up.
func (f *flow) probe() {
	u := f.from.userTimeout
	switch {
	case u > 0 && !f.probed.IsZero() && time.Since(f.probed) >= u:
		f.from.timedOut("a closed window by TCP_USER_TIMEOUT")
		return
	case f.probes >= ProbeLimit:
		f.from.timedOut("a closed window after its probes")
		return
	}
	f.probes++
	f.link.wire(f.way).send(packet{kind: isProbe})
	f.arm()
}
