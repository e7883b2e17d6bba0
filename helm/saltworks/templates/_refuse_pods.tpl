{{/* Refusals about pods: what each holds, and what the groups and the settings say of each other. */}}

{{/* Requests, limits and volumes of every pod that the chart makes. */}}
{{- define "saltworks.refuse.pods" -}}
{{- $parts := list
      (dict "path" "head" "resources" .Values.head.resources "shm" .Values.head.shmSize "tmp" .Values.head.tmpSize)
      (dict "path" "preflight" "resources" .Values.preflight.resources "tmp" .Values.preflight.tmpSize)
      (dict "path" "submitter" "resources" .Values.submitter.resources)
      (dict "path" "autoscaler" "resources" .Values.autoscaler.resources) -}}
{{- range $at, $group := .Values.workerGroups }}
{{- $full := mergeOverwrite (deepCopy $.Values.workerDefaults) (deepCopy $group) }}
{{- $parts = append $parts (dict "path" (printf "workerGroups[%d]" $at) "resources" $full.resources "shm" $full.shmSize "tmp" $full.tmpSize) }}
{{- end }}
{{- $cache := .Values.storage.modelCache }}
{{- range $part := $parts }}
{{- $limits := .resources.limits | default dict }}
{{- range $key, $asked := .resources.requests }}
{{- $limit := get $limits $key }}
{{- if and $limit (gt (include "saltworks.quantity" $asked | float64) (include "saltworks.quantity" $limit | float64)) }}
- {{ printf "%s.resources.requests.%s: %s is more than the limit of %s; raise the limit, or ask for less" $part.path $key (toString $asked) (toString $limit) | toJson }}
{{- end }}
{{- end }}
{{- with .shm }}
{{- if lt (include "saltworks.objectStore" . | int64) 78643200 }}
- {{ printf "%s.shmSize: %s gives Ray's object store less than the 75 MiB that it needs; set 84Mi or more" $part.path . | toJson }}
{{- end }}
{{- with get $limits "memory" }}
{{- if ge (include "saltworks.bytes" $part.shm | int64) (include "saltworks.bytes" . | int64) }}
- {{ printf "%s.shmSize: %s counts against the memory limit of %s; raise the limit" $part.path $part.shm (toString .) | toJson }}
{{- end }}
{{- end }}
{{- end }}
{{- $limit := get $limits "ephemeral-storage" }}
{{- if and .tmp $limit }}
{{- $models := ternary "0" ($cache.size | default "1Mi") (ne $cache.claim "") }}
{{- if gt (addf (include "saltworks.quantity" .tmp) (include "saltworks.quantity" $models)) (include "saltworks.quantity" $limit | float64) }}
- {{ printf "%s.tmpSize: %s%s is more than the limit of %s in resources.limits.ephemeral-storage; raise the limit" .path .tmp
      (ternary "" (printf " and storage.modelCache.size, %s," $models) (ne $cache.claim "")) (toString $limit) | toJson }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Each group by itself, as it was written. */}}
{{- define "saltworks.refuse.groups" -}}
{{- $fixed := eq .Values.scaling "fixed" -}}
{{- $seen := list -}}
{{- with .Values.workerDefaults }}
{{- if and $fixed (or (ne (int .minReplicas) 0) (ne (int .maxReplicas) 1)) }}
- {{ printf "workerDefaults: minReplicas %d and maxReplicas %d; nothing scales with scaling: fixed; set replicas" (int .minReplicas) (int .maxReplicas) | toJson }}
{{- else if and (not $fixed) (ne (int .replicas) 1) }}
- {{ printf "workerDefaults.replicas: %d, but the autoscaler decides; set minReplicas and maxReplicas, or scaling: fixed" (int .replicas) | toJson }}
{{- end }}
{{- end }}
{{- range $at, $group := .Values.workerGroups }}
{{- $path := printf "workerGroups[%d]" $at }}
{{- $full := mergeOverwrite (deepCopy $.Values.workerDefaults) (deepCopy $group) }}
{{- if has .name $seen }}
- {{ printf "%s.name: %s is taken; use another" $path .name | toJson }}
{{- end }}
{{- $seen = append $seen .name }}
{{- if and (not $fixed) $full.gpus $full.minReplicas }}
- {{ printf "%s.minReplicas: %d, but GPU groups start from zero, so that a plan that fails rents none; leave it out, or set scaling: fixed" $path (int $full.minReplicas) | toJson }}
{{- end }}
{{- if $fixed }}{{ range list "minReplicas" "maxReplicas" }}{{ if hasKey $group . }}
- {{ printf "%s.%s: nothing scales with scaling: fixed; set replicas" $path . | toJson }}
{{- end }}{{ end }}{{ else if hasKey $group "replicas" }}
- {{ printf "%s.replicas: the autoscaler decides; set minReplicas and maxReplicas, or scaling: fixed" $path | toJson }}
{{- end }}
{{- if and (not $fixed) (gt (int $full.minReplicas) (int $full.maxReplicas)) }}
- {{ printf "%s.minReplicas: %d is more than maxReplicas, %d" $path (int $full.minReplicas) (int $full.maxReplicas) | toJson }}
{{- end }}
{{- if and (eq $full.role "cpu") $full.gpus }}
- {{ printf "%s.gpus: %d in a group of role cpu would never be used; use role generate or train" $path (int $full.gpus) | toJson }}
{{- end }}
{{- if not (kindIs "invalid" $full.rayGpus) }}
{{- if ne (gt (float64 $full.rayGpus) 0.0) (gt (int $full.gpus) 0) }}
- {{ printf "%s.rayGpus: %s where a pod has %d GPUs; count what is there" $path (toJson $full.rayGpus) (int $full.gpus) | toJson }}
{{- end }}
{{- end }}
{{- range $kind := list "requests" "limits" }}{{ range $key, $_ := get $full.resources $kind }}{{ if contains "/" $key }}
- {{ printf "%s.resources.%s: %s is counted by gpus and gpuResource; set those" $path $kind $key | toJson }}
{{- end }}{{ end }}{{ end }}
{{- end }}
{{- end -}}

{{/* What the groups and the settings say of each other: GPUs that nobody would use, workers that would fit nowhere. */}}
{{- define "saltworks.refuse.workers" -}}
{{- $set := .Values.settings -}}
{{- $groups := (include "saltworks.groups" . | fromYaml).groups | default list -}}
{{- $derived := include "saltworks.derived" . | fromYaml -}}
{{- $roles := list -}}{{- $rented := 0 -}}
{{- range $groups }}{{ $roles = append $roles .role }}{{ $rented = add $rented .gpus }}{{ end -}}
{{- if and (not $groups) (lt (int .Values.head.rayCpus) 1) }}
- "head.rayCpus: 0, and there are no workerGroups: nothing could do the work; raise it, or add groups"
{{- end }}
{{- if and $groups (eq .Values.scaling "autoscale") (gt (int $rented) 0) (not (has "cpu" $roles)) (lt (int .Values.head.rayCpus) 1) }}
- "workerGroups: CPU tasks would rent GPU nodes; add a group of role cpu, or give the head CPUs by head.rayCpus"
{{- end }}
{{- range $one := list
      (dict "role" "generate" "gpus" "SALTWORKS_GENERATOR__GPUS_PER_ACTOR" "cpus" "SALTWORKS_GENERATOR__CPUS_PER_ACTOR" "count" "SALTWORKS_GENERATOR__ACTORS")
      (dict "role" "train" "gpus" "SALTWORKS_SWEEP__GPUS_PER_TRIAL" "cpus" "SALTWORKS_SWEEP__CPUS_PER_TRIAL" "count" "SALTWORKS_SWEEP__PARALLEL_TRIALS") }}
{{- $each := get $set $one.gpus | default 0 }}
{{- range $at, $group := $groups }}
{{- if and (eq .role $one.role) (gt (int .gpus) 0) (eq (float64 $each) 0.0) }}
- {{ printf "settings.%s: 0, so nobody would use the GPUs of workerGroups[%d]; set it, or its gpus to 0" $one.gpus $at | toJson }}
{{- end }}
{{- end }}
{{- if eq (get $derived $one.count | default "1") "0" }}
- {{ printf "settings.%s: %s and %s: %s fit into no pod of workerGroups; lower them, or use larger pods" $one.gpus (toJson $each) $one.cpus (get $set $one.cpus | default 1 | toJson) | toJson }}
{{- else if and (gt (float64 $each) 0.0) (not (hasKey $derived $one.count)) }}
- {{ printf "settings.%s: %s, and no worker group has GPUs; add one, or set it to 0" $one.gpus (toJson $each) | toJson }}
{{- end }}
{{- end }}
{{- end -}}
