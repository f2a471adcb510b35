package main

// surface are the bugs in what users set, give and get.
var surface = []mutant{
	{"a factory's error says what it is called", "internal/build/errors.go",
		`errors.AsType[*kindError](err); ok && strings.HasPrefix(k.kind, "factory_") {
		return k.kind`,
		`errors.AsType[interface {
		error
		ErrorType() string
	}](err); ok && strings.HasPrefix(k.ErrorType(), "factory_") {
		return k.ErrorType()`},
	{"a number without a unit is a duration", "options.go",
		"d > 0 && d < time.Millisecond",
		"false"},
	{"the longest interval overflows", "internal/core/table.go",
		"min(interval, math.MaxInt64/onceEvery) * onceEvery",
		"interval * time.Duration(min(onceEvery, math.MaxInt))"},
	{"respawn goes into respawn", "roundtripper.go",
		"case within(base) != nil:",
		"case false:"},
	{"a fallback may be respawn", "roundtripper.go",
		"case within(cfg.Fallback) != nil:",
		"case false:"},
	{"a client may go around respawn", "middleware.go",
		"case *http.Transport, *http.ClientConn:",
		"case *http.ClientConn:"},
	{"a client may go through another one", "middleware.go",
		"return layer != rt",
		"return layer == nil"},
	{"a clone loses x/net's pings", "internal/build/clone.go",
		"\t\taddPings(clone)\n",
		""},
	{"nobody hears of lost pings", "internal/build/clone.go",
		"c.once.Do(c.Pinged)",
		""},
	{"the kernel's limit is not set", "internal/build/usertimeout_linux.go",
		"int(UserTimeout.Milliseconds())",
		"0"},
	{"a reader that pauses is cut", "internal/build/transport.go",
		"UserTimeout = 60 * time.Second",
		"UserTimeout = 27 * time.Second"},
}
