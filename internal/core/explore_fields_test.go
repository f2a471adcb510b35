//go:build !race

package core

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
	"unsafe"
)

// TestCloneForgetsNothing: a clone is as its original, and shares nothing with it,
// in whatever states a long walk comes to.
func TestCloneForgetsNothing(t *testing.T) {
	t.Parallel()
	const walks = 40
	seen := map[string]bool{}
	for _, s := range worlds() {
		rnd := rand.New(rand.NewPCG(3, 4))
		for range walks {
			w := s.start(t, nil)
			for range 40 {
				ms := w.moves()
				if len(ms) == 0 || w.bad != "" {
					break
				}
				w.do(ms[rnd.IntN(len(ms))])
				if w.closed {
					break // what is in flight then stays in the lists of what is gone
				}
				v := w.clone()
				d := differ{seen: seen, pairs: map[pair]bool{}, of: map[uintptr]uintptr{}}
				d.compare("c", reflect.ValueOf(w.c), reflect.ValueOf(v.c))
				d.compare("calls", reflect.ValueOf(w.calls), reflect.ValueOf(v.calls))
				d.compare("flights", reflect.ValueOf(w.flights), reflect.ValueOf(v.flights))
				d.compare("acc", reflect.ValueOf(w.acc), reflect.ValueOf(v.acc))
				if len(d.found) > 0 {
					t.Fatalf("%s: %q", s.name, d.found)
				}
				if w.key() != v.key() {
					t.Fatalf("%s: the clone has another key", s.name)
				}
			}
		}
	}
	// What no walk ever sets is not shown to be cloned.
	for _, o := range []any{Client{}, suspect{}, candidate{}, stand{}, tryout{}, Call{}, Attempt{}, Order{}} {
		typ := reflect.TypeOf(o)
		for i := range typ.NumField() {
			if name := typ.Name() + "." + typ.Field(i).Name; !seen[name] && !unset[name] {
				t.Errorf("%s was never set", name)
			}
		}
	}
}

// What these worlds do not set: the shell's, what is over, and what walks as short as
// these seldom come to.
var unset = map[string]bool{"stand.slow": true, "tryout.gone": true, "tryout.neutral": true, "tryout.missed": true, "stand.owed": true, "suspect.probeAt": true, "Attempt.brief": true, "suspect.witnesses": true, "suspect.missed": true, "Call.Ticket": true, "Call.Witness": true, "Order.Ticket": true, "Client.todo": true, "Client.closed": true, "Order.done": true, "Order.kind": true}

type pair struct{ a, b uintptr }

// A differ compares two graphs of objects.
type differ struct {
	pairs map[pair]bool
	of    map[uintptr]uintptr // what each object became
	seen  map[string]bool     // fields that were not zero
	found []string
}

func (d *differ) compare(at string, a, b reflect.Value) {
	if len(d.found) > 3 {
		return
	}
	bad := func(what string) { d.found = append(d.found, at+" "+what) }
	switch a.Kind() {
	case reflect.Pointer:
		switch {
		case a.IsNil() || b.IsNil():
			if a.IsNil() != b.IsNil() {
				bad("is nil in one")
			}
		case d.pairs[pair{a.Pointer(), b.Pointer()}]:
		case a.Pointer() == b.Pointer():
			bad("is shared")
		case d.of[a.Pointer()] != 0:
			bad("became two")
		default:
			d.pairs[pair{a.Pointer(), b.Pointer()}] = true
			d.of[a.Pointer()] = b.Pointer()
			d.compare(at, a.Elem(), b.Elem())
		}
	case reflect.Struct:
		if a.Type() == reflect.TypeFor[time.Time]() {
			if a.Field(0).Uint() != b.Field(0).Uint() || a.Field(1).Int() != b.Field(1).Int() {
				bad("differs")
			}
			return
		}
		for i := range a.NumField() {
			name := a.Type().Name() + "." + a.Type().Field(i).Name
			if !a.Field(i).IsZero() {
				d.seen[name] = true
			}
			d.compare(at+"."+a.Type().Field(i).Name, a.Field(i), b.Field(i))
		}
	case reflect.Slice:
		if a.Len() != b.Len() {
			bad("has another length")
			return
		}
		if a.Len() > 0 && a.Pointer() == b.Pointer() && a.Type().Elem() != reflect.TypeFor[served]() {
			bad("is shared")
		}
		fallthrough
	case reflect.Array:
		for i := range a.Len() {
			d.compare(at+"[]", a.Index(i), b.Index(i))
		}
	case reflect.Map:
		if a.Len() != b.Len() {
			bad("has another length")
			return
		}
		for _, key := range a.MapKeys() {
			if v := b.MapIndex(key); v.IsValid() {
				d.compare(at+"[]", a.MapIndex(key), v)
			} else {
				bad("lacks one")
			}
		}
	case reflect.Interface:
		if a.IsNil() != b.IsNil() {
			bad("differs")
		}
	default:
		if !a.Equal(b) {
			bad("differs")
		}
	}
}

// What the future of these worlds does not depend on, or depends on by another
// field alone: whoever adds a field to the core adds it to the key, or says so here.
var keyless = map[string]bool{
	"Client.rules": true, "Client.serial": true, "Client.todo": true, "Client.reports": true, // settings, numbers
	"candidate.id": true, "candidate.trigger": true, "tryout.kind": true, "suspect.trigger": true, "Order.kind": true, // names
	"suspect.since": true, "Client.endedAt": true, "suspect.tripped": true, "suspect.refusals": true, // told only
	"suspect.from": true, "Client.endedIn": true, "Client.diverted": true, // the same
	"suspect.witnesses": true, "Call.Ticket": true, "Call.Witness": true, "Order.Ticket": true,
	"Call.Authority": true, "Call.Method": true, "Call.Kind": true, "Call.Ready": true, // its template
	"Attempt.Call": true, "Attempt.prev": true, "Attempt.next": true, "Attempt.in": true, // its lists
	"attempts.last": true, "entry[T].used": true, "entry[T].authority": true, "patience.least": true,
	"Client.known": true, "candidate.of": true, "Client.busy": true, "suspect.busy": true, "Client.sweepAt": true, "Client.changes": true, // to find others by, and to be asked less often
	"silences.first":    true, // in the key of what waits on a transport that was replaced, which no list of the core has
	"suspect.authority": true, "stand.authority": true, "pace.epoch": true, "candidate.epoch": true,
}

// TestKeyKnowsAllFields alters each field of the core, and sees the key change.
func TestKeyKnowsAllFields(t *testing.T) {
	t.Parallel()
	known, all := map[string]bool{}, map[string]bool{}
	for _, s := range worlds() {
		rnd := rand.New(rand.NewPCG(5, 6))
		for range 25 {
			w := s.start(t, nil)
			for range 40 {
				ms := w.moves()
				if len(ms) == 0 || w.bad != "" {
					break
				}
				w.do(ms[rnd.IntN(len(ms))])
				was := w.key()
				alter(reflect.ValueOf(w.c).Elem(), map[uintptr]bool{}, func(name string, f reflect.Value) {
					if known[name] || keyless[name] {
						return
					}
					old := reflect.New(f.Type()).Elem()
					old.Set(f)
					for _, by := range []int64{1, -1, 100_000} {
						if bend(f, by) {
							all[name] = true
							known[name] = known[name] || w.key() != was
						}
						f.Set(old)
					}
				})
			}
		}
	}
	for name := range all {
		if !known[name] && !keyless[name] {
			t.Errorf("%s is not in the key", name)
		}
	}
}

// alter visits the fields of all that v holds.
func alter(v reflect.Value, seen map[uintptr]bool, visit func(string, reflect.Value)) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() && !seen[v.Pointer()] {
			seen[v.Pointer()] = true
			alter(v.Elem(), seen, visit)
		}
	case reflect.Slice:
		for i := range v.Len() {
			alter(v.Index(i), seen, visit)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() || v.Type() == reflect.TypeFor[Todo]() || v.Type() == reflect.TypeFor[Rules]() {
			return
		}
		for i := range v.NumField() {
			f := v.Field(i)
			f = reflect.NewAt(f.Type(), unsafe.Pointer(f.UnsafeAddr())).Elem()
			if v.Type().Name() != "" {
				name, _, generic := strings.Cut(v.Type().Name(), "[")
				if generic {
					name += "[T]"
				}
				visit(name+"."+v.Type().Field(i).Name, f)
			}
			alter(f, seen, visit)
		}
	}
}

// bend makes something else of a field, and reports whether it could.
func bend(f reflect.Value, by int64) bool {
	switch {
	case f.Type() == reflect.TypeFor[time.Time]():
		f.Set(reflect.ValueOf(f.Interface().(time.Time).Add(time.Duration(by) * time.Second)))
	case f.Kind() == reflect.Bool:
		f.SetBool(!f.Bool())
	case f.CanInt():
		f.SetInt(f.Int() + by)
	case f.CanUint():
		f.SetUint(f.Uint() + uint64(by))
	case f.Kind() == reflect.String:
		f.SetString(f.String() + "x")
	case f.Kind() == reflect.Pointer && !f.IsNil():
		f.SetZero()
	default:
		return false
	}
	return true
}
