package main

import (
	"bufio"
	"os"
	"strconv"
	"strings"
)

// Figure is what one chart shows; of a counter its growth per second.
type Figure struct {
	Channel string `json:"channel"`
	Title   string `json:"title"`
	key     string
	counter bool
}

var figures = []Figure{
	{"metrics.cpu.user", "CPU of programs, % of a core", "cpu/0", true},
	{"metrics.cpu.system", "CPU of the kernel, % of a core", "cpu/2", true},
	{"metrics.cpu.wait", "CPU waiting for disks, % of a core", "cpu/4", true},
	{"metrics.load", "load, one minute", "loadavg", false},
	{"metrics.running", "processes that run", "procs_running/0", false},
	{"metrics.forks", "processes begun, 1/s", "processes/0", true},
	{"metrics.switches", "context switches, 1/s", "ctxt/0", true},
	{"metrics.interrupts", "interrupts, 1/s", "intr/0", true},
	{"metrics.memory.available", "memory available, kB", "MemAvailable/0", false},
	{"metrics.memory.cached", "memory of files, kB", "Cached/0", false},
	{"metrics.memory.dirty", "memory to be written, kB", "Dirty/0", false},
	{"metrics.memory.anonymous", "memory of programs, kB", "AnonPages/0", false},
}

func (f Figure) value(before, now map[string]float64) float64 {
	if f.counter {
		return now[f.key] - before[f.key]
	}
	return now[f.key]
}

// sample reads what Linux says of itself: `<name>/<place>` for the numbers behind each name.
func sample() map[string]float64 {
	values := map[string]float64{}
	for _, path := range []string{"/proc/stat", "/proc/meminfo"} {
		file, err := os.Open(path)
		if err != nil {
			continue
		}
		for lines := bufio.NewScanner(file); lines.Scan(); {
			words := strings.Fields(lines.Text())
			for place, word := range words[1:min(len(words), 6)] {
				if value, err := strconv.ParseFloat(word, 64); err == nil {
					values[strings.TrimSuffix(words[0], ":")+"/"+strconv.Itoa(place)] = value
				}
			}
		}
		file.Close()
	}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		values["loadavg"], _ = strconv.ParseFloat(strings.Fields(string(text))[0], 64)
	}
	return values
}
