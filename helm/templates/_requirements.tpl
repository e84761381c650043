{{/* What values.schema.json cannot say: combinations. Each failure is a sentence that names the values. */}}

{{- define "fantail.hasRedis" -}}
{{- if or .Values.redis.url .Values.redis.existingSecret.name .Values.redis.trial.enabled }}true{{ end }}
{{- end }}

{{- define "fantail.requirements" -}}
{{- $redis := include "fantail.hasRedis" . }}
{{- if and (not $redis) (not .Values.standalone) }}
{{- fail "no Redis: set redis.url or redis.existingSecret.name; for trying out redis.trial.enabled=true, or standalone=true for one node with channels in its own memory" }}
{{- end }}
{{- if and $redis .Values.standalone }}
{{- fail "standalone: a node on Redis does not stand alone; leave out standalone or redis" }}
{{- end }}
{{- if and .Values.standalone (or (ne (int .Values.replicaCount) 1) (ne .Values.autoscaling.mode "none")) }}
{{- fail (printf "standalone: nodes without Redis know nothing of each other, so replicaCount must be 1 (it is %d) and autoscaling.mode none (it is %s)" (int .Values.replicaCount) .Values.autoscaling.mode) }}
{{- end }}
{{- $sources := list }}
{{- if .Values.redis.url }}{{ $sources = append $sources "redis.url" }}{{ end }}
{{- if .Values.redis.existingSecret.name }}{{ $sources = append $sources "redis.existingSecret.name" }}{{ end }}
{{- if .Values.redis.trial.enabled }}{{ $sources = append $sources "redis.trial.enabled" }}{{ end }}
{{- if gt (len $sources) 1 }}
{{- fail (printf "%s exclude each other: a cluster has one Redis" (join " and " $sources)) }}
{{- end }}
{{- with .Values.autoscaling }}
{{- if and (ne .mode "none") (gt (int .minReplicas) (int .maxReplicas)) }}
{{- fail (printf "autoscaling.minReplicas %d is more than autoscaling.maxReplicas %d" (int .minReplicas) (int .maxReplicas)) }}
{{- end }}
{{- if and (eq .mode "keda") (not .prometheus.serverAddress) }}
{{- fail "autoscaling.mode keda: it needs autoscaling.prometheus.serverAddress" }}
{{- end }}
{{- if and (eq .mode "keda") (gt (int .cpuPercent) 0) }}
{{- fail "autoscaling.cpuPercent: it is of use only with autoscaling.mode hpa" }}
{{- end }}
{{- end }}
{{- with .Values.rollout }}
{{- if and (eq (toString .maxSurge) "0") (eq (toString .maxUnavailable) "0") }}
{{- fail "rollout.maxSurge and rollout.maxUnavailable are both 0: no rollout could begin" }}
{{- end }}
{{- if ge (int .minReadySeconds) (int .progressDeadlineSeconds) }}
{{- fail (printf "rollout.progressDeadlineSeconds %d must be more than rollout.minReadySeconds %d" (int .progressDeadlineSeconds) (int .minReadySeconds)) }}
{{- end }}
{{- end }}
{{- if and .Values.gateway.enabled (not .Values.gateway.parentRefs) }}
{{- fail "gateway.enabled: it needs gateway.parentRefs, the gateways that take the route" }}
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) }}
{{- fail "ingress.enabled: it needs ingress.hosts" }}
{{- end }}
{{- if and .Values.tls.enabled (not .Values.tls.secretName) }}
{{- fail "tls.enabled: it needs tls.secretName, a kubernetes.io/tls Secret" }}
{{- end }}
{{- with .Values.auth }}
{{- $keys := or (and .jwt.keysSecret.name .jwt.keysSecret.keys) $.Values.settings.jwtKey }}
{{- if and (eq .mode "jwt") (not $keys) (not .jwt.jwksUrl) }}
{{- fail "auth.mode jwt: it needs auth.jwt.keysSecret (name and keys) or auth.jwt.jwksUrl" }}
{{- end }}
{{- if and .jwt.keysSecret.name .jwt.jwksUrl }}
{{- fail "auth.jwt.keysSecret and auth.jwt.jwksUrl exclude each other" }}
{{- end }}
{{- if and (ne .mode "jwt") (or .jwt.keysSecret.name .jwt.jwksUrl) }}
{{- fail (printf "auth.jwt: keys are given, but auth.mode is %s, so everybody could read everything" .mode) }}
{{- end }}
{{- if and (eq .mode "forward") (not .forward.url) }}
{{- fail "auth.mode forward: it needs auth.forward.url" }}
{{- end }}
{{- if and (ne .mode "forward") .forward.url }}
{{- fail (printf "auth.forward.url: it needs auth.mode forward (it is %s)" .mode) }}
{{- end }}
{{- if and (eq .mode "none") .public }}
{{- fail "auth.public: it needs auth.mode jwt or forward; without authorization every channel is public" }}
{{- end }}
{{- end }}
{{- $set := fromYaml (include "fantail.settings" .) }}
{{- range .Values.extraEnv }}
{{- if hasKey $set .name }}
{{- fail (printf "extraEnv: %s is set by the chart; a variable that is there twice is refused by the API server" .name) }}
{{- end }}
{{- end }}
{{- if and .Values.service.loadBalancerSourceRanges (ne .Values.service.type "LoadBalancer") }}
{{- fail (printf "service.loadBalancerSourceRanges: it needs service.type LoadBalancer (it is %s)" .Values.service.type) }}
{{- end }}
{{- if and .Values.service.externalTrafficPolicy (eq .Values.service.type "ClusterIP") }}
{{- fail "service.externalTrafficPolicy: it needs service.type NodePort or LoadBalancer" }}
{{- end }}
{{- range $name, $path := fromYaml (include "fantail.elsewhere" .) }}
{{- if hasKey $.Values.settings $name }}
{{- fail (printf "settings.%s: set %s instead, from which the chart computes more than this flag" $name $path) }}
{{- end }}
{{- end }}
{{- $files := dict "redisPasswordFile" "redis.passwordSecret" "redisSentinelPasswordFile" "redis.sentinelPasswordSecret" "redisCa" "redis.tls" "redisCert" "redis.tls" "redisKey" "redis.tls" "adminTokenFile" "admin.tokenSecret" "authCa" "auth.caSecret" "jwtKey" "auth.jwt.keysSecret" }}
{{- range $name, $path := $files }}
{{- $from := $.Values }}
{{- range splitList "." $path }}{{ $from = get $from . }}{{ end }}
{{- if and (hasKey $.Values.settings $name) (or (get $from "name") (get $from "existingSecret")) }}
{{- fail (printf "settings.%s: %s names a Secret for it; leave out one of the two" $name $path) }}
{{- end }}
{{- end }}
{{- with .Values.redis.tls }}
{{- if and .existingSecret (not $redis) }}
{{- fail "redis.tls.existingSecret: it needs a Redis" }}
{{- end }}
{{- if and .existingSecret (hasPrefix "redis" $.Values.redis.url) (not (hasPrefix "rediss" $.Values.redis.url)) }}
{{- fail "redis.tls.existingSecret: redis.url does not speak TLS; begin it with rediss://, rediss-sentinel:// or rediss-cluster://" }}
{{- end }}
{{- if and .existingSecret (not .caKey) (not .certKey) }}
{{- fail "redis.tls.existingSecret: name at least one of its keys, redis.tls.caKey or redis.tls.certKey" }}
{{- end }}
{{- if ne (empty .certKey) (empty .keyKey) }}
{{- fail "redis.tls.certKey and redis.tls.keyKey go together" }}
{{- end }}
{{- if and .certKey (not .existingSecret) }}
{{- fail "redis.tls.certKey: it needs redis.tls.existingSecret" }}
{{- end }}
{{- end }}
{{- if and .Values.service.nodePort (eq .Values.service.type "ClusterIP") }}
{{- fail "service.nodePort: it needs service.type NodePort or LoadBalancer" }}
{{- end }}
{{- if and .Values.service.loadBalancerClass (ne .Values.service.type "LoadBalancer") }}
{{- fail (printf "service.loadBalancerClass: it needs service.type LoadBalancer (it is %s)" .Values.service.type) }}
{{- end }}
{{- if and .Values.alerts.enabled (not .Values.alerts.runbookUrl) }}
{{- fail "alerts.enabled: it needs alerts.runbookUrl, where docs/runbooks/ of this version can be read" }}
{{- end }}
{{- $volumes := list }}
{{- range fromYamlArray (include "fantail.volumes" .) }}{{ $volumes = append $volumes .name }}{{ end }}
{{- range .Values.extraVolumes }}
{{- if has .name $volumes }}
{{- fail (printf "extraVolumes: %s is a volume of the chart's own" .name) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Flags that other values set, and which. */}}
{{- define "fantail.elsewhere" -}}
listen: listenAddress
adminListen: listenAddress
redis: redis.url or redis.existingSecret
drain: shutdown.drainSeconds
drainDelay: shutdown.drainDelaySeconds
tlsCert: tls.secretName
tlsKey: tls.secretName
tlsTicketKeys: tls.ticketKeysSecret
auth: auth.mode
jwtJwksUrl: auth.jwt.jwksUrl
jwtIssuer: auth.jwt.issuers
jwtAudience: auth.jwt.audiences
public: auth.public
forwardUrl: auth.forward.url
forwardHeaders: auth.forward.headers
trustedProxies: trustedProxies
otlpEndpoint: tracing.endpoint
{{- end }}
