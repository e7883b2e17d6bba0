{{/* All refusals. Each names the value's path, the value, and the cure; all that is wrong is said at once. What one value
     alone can tell is in the schema; here stands what follows from several, or needs a better word than the schema has. */}}

{{- define "saltworks.refuse" -}}
{{- $found := concat
      (include "saltworks.refuse.release" . | fromYamlArray)
      (include "saltworks.refuse.settings" . | fromYamlArray)
      (include "saltworks.refuse.environment" . | fromYamlArray)
      (include "saltworks.refuse.groups" . | fromYamlArray)
      (include "saltworks.refuse.pods" . | fromYamlArray)
      (include "saltworks.refuse.workers" . | fromYamlArray)
      (include "saltworks.refuse.storage" . | fromYamlArray)
      (include "saltworks.refuse.running" . | fromYamlArray) -}}
{{- if $found }}{{ printf "\n  %s" (join "\n  " $found) | fail }}{{ end -}}
{{- end -}}

{{- define "saltworks.refuse.release" -}}
{{- if not (regexMatch "^[a-z]" .Release.Name) }}
- {{ printf "release name %q: Ray's names begin with a letter; use another name" .Release.Name | toJson }}
{{- end }}
{{- if semverCompare "<2.52.0" .Values.rayVersion }}
- {{ printf "rayVersion: %s has no token authentication; use an image with Ray 2.52.0 or later" .Values.rayVersion | toJson }}
{{- end }}
{{- if ge (int .Values.deadlines.preRunning) (int .Values.deadlines.active) }}
- {{ printf "deadlines.preRunning: %d s is not below deadlines.active, %d s; lower it" (int .Values.deadlines.preRunning) (int .Values.deadlines.active) | toJson }}
{{- end }}
{{- $dataset := include "saltworks.dataset" . }}
{{- if not (regexMatch "^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$" $dataset) }}
- {{ printf "settings.SALTWORKS_DATASET: %q can be no label of an object; use at most 63 letters, digits, dots, dashes, the last a letter or digit" $dataset | toJson }}
{{- end }}
{{- with .Values.kueue }}
{{- if and .queueName $.Values.workerGroups (eq $.Values.scaling "autoscale") }}
- {{ printf "kueue.queueName: Kueue admits %q as a whole and cannot autoscale it; set scaling: fixed, and replicas for each group" .queueName | toJson }}
{{- end }}
{{- if and .queueName (gt (len $.Values.workerGroups) 6) }}
- {{ printf "workerGroups: %d of them, and Kueue before 0.18 admits 6 beside head and submitter; join some" (len $.Values.workerGroups) | toJson }}
{{- end }}
{{- if and .priorityClass (not .queueName) }}
- {{ printf "kueue.priorityClass: %q means nothing without a queue; set kueue.queueName" .priorityClass | toJson }}
{{- end }}
{{- end }}
{{- range $key, $_ := .Values.labels }}
{{- if regexMatch "^(app\\.kubernetes\\.io/(name|instance|component)$|ray\\.io/|saltworks/|kueue\\.x-k8s\\.io/)" $key }}
- {{ printf "labels.%s: set by the chart or by an operator; use another key" $key | toJson }}
{{- end }}
{{- end }}
{{- range $key, $_ := .Values.annotations }}
{{- if hasPrefix "ray.io/" $key }}
- {{ printf "annotations.%s: set by the chart; use another key" $key | toJson }}
{{- end }}
{{- end }}
{{- range $part, $one := .Values.serviceAccounts }}
{{- if not (or $one.create $one.name) }}
- {{ printf "serviceAccounts.%s.name: empty, and the chart makes none; name one that exists" $part | toJson }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Names that the chart sets, with the value that stands for them. */}}
{{- define "saltworks.owned" -}}
SALTWORKS_SUBMISSION: it is the RayJob's name; leave it out
SALTWORKS_RETRIES: set retries
SALTWORKS_EXPECTS: it is derived from secrets; list them there
SALTWORKS_IMAGE_DIGEST: set image.digest
SALTWORKS_STOP_GRACE_S: set deadlines.stopGrace
SALTWORKS_PROGRESS: pods write one JSON line per event; leave it out
SALTWORKS_GENERATOR__RESOURCE: it is derived from the roles of workerGroups; set role there
SALTWORKS_SWEEP__RESOURCE: it is derived from the roles of workerGroups; set role there
SALTWORKS_KUBERNETES__MANIFEST: it is mounted by the chart; leave it out
SALTWORKS_KUBERNETES__NAMESPACE: it is the release's; leave it out
SALTWORKS_KUBERNETES__TICK: it is the Job of the tick; leave it out
SALTWORKS_KUBERNETES__OWNER: it is the preflight Job; leave it out
SALTWORKS_KUBERNETES__HISTORY: set refresh.history
{{- end -}}

{{/* Not empty where a value of any shape holds a URL that carries a password, or a signature that stands for one. */}}
{{- define "saltworks.secretUrl" -}}
{{- $text := toRawJson . -}}
{{- if or (regexMatch "://[^/\"\\s]*:[^/\"\\s]*@" $text) (regexMatch "(?i)[?&](X-Amz-|X-Goog-|sig=|signature=)" $text) }}true{{ end -}}
{{- end -}}

{{- define "saltworks.refuse.settings" -}}
{{- $owned := include "saltworks.owned" . | fromYaml -}}
{{- $derived := include "saltworks.derived" . | fromYaml -}}
{{- range $name, $value := .Values.settings }}
{{- if kindIs "invalid" $value }}
{{- else if hasKey $owned $name }}
- {{ printf "settings.%s: %s is not yours to set: %s" $name (toJson $value) (get $owned $name) | toJson }}
{{- else if hasKey $derived $name }}
- {{ printf "settings.%s: %s, but the worker groups hold %s; leave it out, and set maxReplicas or replicas" $name (toJson $value) (get $derived $name) | toJson }}
{{- else if include "saltworks.secretUrl" $value }}
- {{ printf "settings.%s: a URL with a password or a signature; give what is secret by secrets" $name | toJson }}
{{- end }}
{{- end }}
{{- with .Values.settings.SALTWORKS_EDITION }}
{{- if $.Values.refresh.schedule }}
- {{ printf "settings.SALTWORKS_EDITION: %q, but every tick of refresh.schedule names an edition; leave it out" . | toJson }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "saltworks.refuse.environment" -}}
{{- $taken := list "HOME" "HF_HOME" "PYTHONPATH" "RAY_USAGE_STATS_ENABLED" "RAY_ADDRESS" "RAY_AUTH_MODE" "RAY_AUTH_TOKEN" "RAY_JOB_STOP_WAIT_TIME_S" -}}
{{- /* whole words between underscores: TOKENIZERS_PARALLELISM is none */}}
{{- $secret := "(^|_)(SECRET|TOKEN|[A-Z]*PASSW(OR)?D|PASS|PASSPHRASE|CREDENTIALS?|ACCESS_?KEY|API_?KEY|PRIVATE)(_|$)" -}}
{{- range $name, $value := .Values.env }}
{{- if hasPrefix "SALTWORKS_" (upper $name) }}
- {{ printf "env.%s: a setting of the job; put it into settings" $name | toJson }}
{{- else if has $name $taken }}
- {{ printf "env.%s: set by the chart or by the operator; leave it out" $name | toJson }}
{{- else if or (include "saltworks.secretUrl" $value) (and (regexMatch $secret (upper $name)) (not (regexMatch "_(FILE|PATH|URI|URL)$" (upper $name)))) }}
- {{ printf "env.%s: looks like a secret; put it into a Secret and name that in secrets" $name | toJson }}
{{- end }}
{{- end }}
{{- $seen := keys .Values.env -}}
{{- range $at, $one := .Values.secrets }}
{{- if hasPrefix "SALTWORKS_" (upper .env) }}
- {{ printf "secrets[%d].env: %s is a setting, and no setting is secret; put it into settings" $at .env | toJson }}
{{- else if has .env $taken }}
- {{ printf "secrets[%d].env: %s is set by the chart or by the operator; leave it out" $at .env | toJson }}
{{- else if has .env $seen }}
- {{ printf "secrets[%d].env: %s is given twice; leave one out" $at .env | toJson }}
{{- end }}
{{- $seen = append $seen .env }}
{{- end }}
{{- end -}}

{{- define "saltworks.refuse.storage" -}}
{{- $claim := include "saltworks.claim" . -}}
{{- $root := .Values.settings.SALTWORKS_ROOT | default "" -}}
{{- $path := $root | trimPrefix "file://" | trimPrefix "local://" -}}
{{- $mount := .Values.storage.claim.mountPath -}}
{{- if hasPrefix "memory:" $root }}
- {{ printf "settings.SALTWORKS_ROOT: %s lives in one process and would be lost; use a bucket" $root | toJson }}
{{- else if not (contains "://" $path) }}
{{- if not $claim }}
- {{ printf "settings.SALTWORKS_ROOT: %q would end with its pod; use a bucket, or a volume by storage.claim" $root | toJson }}
{{- else if not (or (eq (trimSuffix "/" $path) $mount) (hasPrefix (printf "%s/" (trimSuffix "/" $mount)) $path)) }}
- {{ printf "settings.SALTWORKS_ROOT: %q is not below storage.claim.mountPath, %s" $root $mount | toJson }}
{{- end }}
{{- end }}
{{- with .Values.storage.claim }}
{{- if and .create .existing }}
- {{ printf "storage.claim.existing: %s, and storage.claim.create asks for another; choose one" .existing | toJson }}
{{- end }}
{{- if and .create (not .existing) $.Values.workerGroups (ne .accessMode "ReadWriteMany") }}
- {{ printf "storage.claim.accessMode: %s lets one node mount the volume, and there are workerGroups; use ReadWriteMany, or a bucket" .accessMode | toJson }}
{{- end }}
{{- if and .create (not .existing) $.Values.refresh.schedule (not $.Values.workerGroups) (ne .accessMode "ReadWriteMany") }}
- {{ printf "storage.claim.accessMode: %s lets one node mount the volume, and a tick plans beside the run before it; use ReadWriteMany, or a bucket" .accessMode | toJson }}
{{- end }}
{{- end }}
{{- $mounts := list "/tmp" "/dev/shm" "/opt/saltworks" "/etc/saltworks" (.Values.storage.modelCache.mountPath | trimSuffix "/") -}}
{{- range $name, $path := dict "storage.claim.mountPath" (ternary $mount "" (ne $claim "")) "storage.weights.mountPath" (ternary .Values.storage.weights.mountPath "" (ne .Values.storage.weights.claim "")) }}
{{- if and $path (has (trimSuffix "/" $path) $mounts) }}
- {{ printf "%s: %s is taken; mount it elsewhere" $name $path | toJson }}
{{- end }}
{{- $mounts = append $mounts (trimSuffix "/" $path) }}
{{- end }}
{{- if has (.Values.storage.modelCache.mountPath | trimSuffix "/") (list "/tmp" "/dev/shm" "/opt/saltworks" "/etc/saltworks") }}
- {{ printf "storage.modelCache.mountPath: %s is taken; mount it elsewhere" .Values.storage.modelCache.mountPath | toJson }}
{{- end }}
{{- end -}}

{{/* A run that is active is not ended by an upgrade that changes it, unless that is wanted. */}}
{{- define "saltworks.refuse.running" -}}
{{- $refresh := eq (include "saltworks.way" .) "refresh" -}}
{{- if or $refresh (not .Values.replaceRunning) }}
{{- $hash := include "saltworks.rayjob.hash" . -}}
{{- $planner := include "saltworks.preflight.name" . -}}
{{- range (lookup "ray.io/v1" "RayJob" .Release.Namespace "").items }}
{{- $labels := .metadata.labels | default dict }}
{{- $owner := dig "name" "" (first (.metadata.ownerReferences | default (list dict))) }}   {{- /* it goes with the Job that made it */}}
{{- $state := dig "status" "jobDeploymentStatus" "" . }}
{{- if and (eq (get $labels "app.kubernetes.io/name") "saltworks") (eq (get $labels "app.kubernetes.io/instance") ($.Release.Name | trunc 63))
      (or (ne (get $labels "saltworks/spec") $hash) (and $owner (ne $owner $planner))) (not (has $state (list "Complete" "Failed" "ValidationFailed"))) (not .metadata.deletionTimestamp) }}
- {{ printf "RayJob %s is active (%s) and differs from these values; wait for its end, delete it%s" .metadata.name ($state | default "new") (ternary "" ", or set replaceRunning: true to end it" $refresh) | toJson }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
