package respawntest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/build"
)

const (
	buildLimit = 5 * time.Second        // of a factory: half the default of WithRecreateTimeout
	grace      = 5 * time.Second        // for what should be over
	settle     = 100 * time.Millisecond // for what follows in a moment
	sweeps     = 8 * time.Second        // more than respawn takes to close what is idle
)

// An inspection is one run of TestFactory.
type inspection struct {
	base    http.RoundTripper // nil if there is none
	factory respawn.Factory
	urls    []string
	traps   []error
}

// findTraps returns what is wrong with the factory. It stops where going on would only
// repeat what is known.
func findTraps(base http.RoundTripper, factory respawn.Factory, urls []string) []error {
	i := &inspection{base: base, factory: factory, urls: urls}
	i.run()
	return i.traps
}

func (i *inspection) run() {
	said, ok := i.baseSays()
	if !ok {
		return
	}
	vain := i.callInVain()
	if vain == nil {
		return
	}
	defer vain.retire()
	first := i.build()
	if first == nil {
		return
	}
	defer first.retire()
	if err := i.faultInVain(vain); err != nil {
		i.found("called under a context that has ended, %w", err)
		return
	}
	firstSaid, err := i.afterItsBuild(first)
	second := i.buildAnother(first)
	if second == nil {
		return
	}
	defer second.retire()
	secondSaid, controlErr := second.ask(i.urls)
	switch {
	case controlErr != nil:
		i.found("the factory's transport does not answer (%w): if base answers, the factory leaves out something that base has; otherwise pass URLs that the transport can GET", controlErr)
	case err != nil:
		i.traps = append(i.traps, err)
	case share(said, firstSaid):
		i.found("the factory's transport uses a connection of base: they share a pool, as wrappers of one cached http.Transport do, or a Clone after x/net's http2.ConfigureTransports; build one with a pool of its own")
	case share(firstSaid, secondSaid):
		i.found("the factory's transports use the same connection: they share a pool; build each with a pool of its own")
	default:
		i.loses(first.transport, said, firstSaid)
		if i.part(first, second) {
			vain.retire() // before the wait for what second leaves, which is for this one's, too
			i.leavesNothing(second)
		}
	}
}

// found notes a trap.
func (i *inspection) found(format string, args ...any) {
	i.traps = append(i.traps, fmt.Errorf(format, args...))
}

// baseSays asks base. The answers of the factory's transports are compared with base's.
func (i *inspection) baseSays() (answers, bool) {
	if i.base == nil {
		return nil, true
	}
	said, err := ask("", i.base, i.urls)
	if err != nil {
		i.found("base does not answer (%w): pass URLs that it can GET, or a nil base to compare nothing", err)
	}
	return said, err == nil
}

// callInVain calls the factory under a context that has ended, and returns the call's
// product; nil if the factory does not heed its context.
func (i *inspection) callInVain() *product {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	p := callUnder(ctx, cancel, i.factory)
	if errors.Is(p.err, errHangs) {
		i.found("the factory had not returned %v after its context had ended: pass the context on to whatever it waits for", grace)
		return nil
	}
	p.late = false // which it could not help
	p.retired = i.fault(p) != nil
	return p
}

// faultInVain returns what is wrong with the product of callInVain, where an error is as
// good as a transport. How a factory gives up shows only here.
func (i *inspection) faultInVain(p *product) error {
	if p.failed() {
		return nil
	}
	if err := p.failure(); err != nil {
		return err
	}
	return i.owned(p.transport)
}

// afterItsBuild asks a transport that has outlived the context of its build, as those in
// service have. An error may have another cause: run asks a control, too.
func (i *inspection) afterItsBuild(p *product) (answers, error) {
	time.Sleep(settle)
	said, err := p.ask(i.urls)
	if err != nil {
		return nil, fmt.Errorf("the factory's transport dies with the context that the factory was given (%w), which ends when the factory returns: whatever must outlive that call needs context.WithoutCancel, or a context that the transport's Close ends", err)
	}
	if _, err := p.ask(i.urls); err != nil {
		return nil, fmt.Errorf("the factory's transport has answered once and then no more (%w): it serves until it is replaced, so it has to dial as often as it needs to", err)
	}
	if p.deadline.IsZero() {
		return said, nil
	}
	time.Sleep(time.Until(p.deadline) + settle)
	if _, err := p.ask(i.urls); err != nil {
		return nil, fmt.Errorf("the factory's transport dies at the deadline of the context that the factory was given (%w): undo what the factory set from that deadline, for a connection with SetDeadline(time.Time{})", err)
	}
	return said, nil
}

// build calls the factory, and returns what can be put in service; nil if nothing can.
func (i *inspection) build() *product {
	p := callAsRespawn(i.factory)
	if err := i.fault(p); err != nil {
		i.traps = append(i.traps, err)
		return nil
	}
	return p
}

// buildAnother calls the factory again.
func (i *inspection) buildAnother(first *product) *product {
	second := callAsControl(i.factory)
	err := i.fault(second)
	switch {
	case err != nil:
		i.found("the factory worked once, but not the second time (%w): respawn calls it for each recreation", err)
	case build.Shares(first.transport, second.transport):
		i.found("the factory returned the same transport twice, or two wrappers of one: build a new one at each call")
	default:
		return second
	}
	second.end()
	return nil
}
