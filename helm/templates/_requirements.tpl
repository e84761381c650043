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
{{- $keys := and .jwt.keysSecret.name .jwt.keysSecret.keys }}
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
{{- end }}
