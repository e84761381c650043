// Command k6 is k6 with the modules of this suite: k6/x/eventsource and k6/x/redis.
package main

import (
	"go.k6.io/k6/v2/cmd"

	_ "fantail/k6"
)

func main() { cmd.Execute() }
