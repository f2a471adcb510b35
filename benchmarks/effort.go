package main

import "time"

// An effort is how long and how often is measured.
type effort struct {
	slice  time.Duration // of one sample
	rounds int           // samples of each row

	connections int           // requests of one sample that each make a connection
	deadGets    int           // requests to a dead dialer, one after the other
	storm       int           // goroutines that meet a fault at once
	darkness    time.Duration // how long a black hole is watched
	authorities []int
	failing     int // authorities that fail
	inFlight    []int
	recreations int // of each of inFlight
	processes   int // of the fleet
	waiting     int // requests at once, unanswered
}

// full is what the page is made of, in under ten minutes on two cores.
func full() effort {
	return effort{
		slice: 10 * time.Millisecond, rounds: 40,
		connections: 100,
		deadGets:    50,
		storm:       1000,
		darkness:    40 * time.Second,
		authorities: []int{1, 10, 1000, 100_000},
		failing:     100_000,
		inFlight:    []int{1, 100, 10_000},
		recreations: 30,
		processes:   10_000,
		waiting:     100_000,
	}
}

// leastRounds is how many samples a median needs to have a 95 % interval that makes no
// assumption about their distribution.
const leastRounds = 6

// quick says nothing about speed, but runs everything.
func quick() effort {
	return effort{
		slice: 100 * time.Microsecond, rounds: leastRounds,
		connections: 4,
		deadGets:    3,
		storm:       50,
		darkness:    3 * time.Second,
		authorities: []int{1, 100},
		failing:     500,
		inFlight:    []int{1, 100},
		recreations: 6,
		processes:   100,
		waiting:     1000,
	}
}
