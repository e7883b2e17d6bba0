{{/* What the worker groups hold, and what follows from it: how many actors draw and how many trials run side by side. */}}

{{/* A CPU quantity as a whole number, rounded up as KubeRay does. */}}
{{- define "saltworks.wholeCpus" -}}
{{- $text := toString . -}}
{{- if hasSuffix "m" $text }}{{ divf (trimSuffix "m" $text) 1000 | ceil | int }}{{ else }}{{ float64 $text | ceil | int }}{{ end -}}
{{- end -}}

{{/* A quantity as a number: bytes of memory, CPUs. */}}
{{- define "saltworks.quantity" -}}
{{- $text := toString . -}}
{{- $units := dict "m" 0.001 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 -}}
{{- $unit := regexFind "[A-Za-z]+$" $text -}}
{{- mulf (trimSuffix $unit $text) (get $units $unit | default 1) | toJson -}}
{{- end -}}

{{/* A quantity of memory in bytes. */}}
{{- define "saltworks.bytes" -}}
{{- include "saltworks.quantity" . | float64 | int64 -}}
{{- end -}}

{{/* Nine tenths of /dev/shm for Ray's object store: one that is larger than /dev/shm would lie on the disk. */}}
{{- define "saltworks.objectStore" -}}
{{- mulf (include "saltworks.bytes" .) 0.9 | int64 -}}
{{- end -}}

{{/* All groups with their defaults, as YAML below `groups`. */}}
{{- define "saltworks.groups" -}}
{{- $groups := list -}}
{{- range .Values.workerGroups -}}
{{-   $group := mergeOverwrite (deepCopy $.Values.workerDefaults) (deepCopy .) -}}
{{-   $cpu := dig "limits" "cpu" (dig "requests" "cpu" "1" $group.resources) $group.resources -}}
{{-   if kindIs "invalid" $group.rayCpus }}{{ $_ := set $group "rayCpus" (include "saltworks.wholeCpus" $cpu | int) }}{{ end -}}
{{-   if kindIs "invalid" $group.rayGpus }}{{ $_ := set $group "rayGpus" $group.gpus }}{{ end -}}
{{-   $_ := set $group "most" (ternary $group.maxReplicas $group.replicas (eq $.Values.scaling "autoscale") | int) -}}
{{-   $groups = append $groups $group -}}
{{- end -}}
{{- dict "groups" $groups | toYaml -}}
{{- end -}}

{{/* How many workers of `cpus` CPUs and `gpus` GPUs fit into the groups of a role; where no group has it, into those with
     GPUs if one is needed, else into CPU groups. Empty where no group is meant: then the job looks at the cluster itself. */}}
{{- define "saltworks.fitting" -}}
{{- $role := .role -}}{{- $cpus := float64 .cpus -}}{{- $gpus := float64 .gpus -}}
{{- $meant := list -}}
{{- range .groups }}{{ if eq .role $role }}{{ $meant = append $meant . }}{{ end }}{{ end -}}
{{- if not $meant -}}
{{-   range .groups -}}
{{-     if or (and (gt $gpus 0.0) (gt (float64 .rayGpus) 0.0)) (and (eq $gpus 0.0) (eq .role "cpu")) }}{{ $meant = append $meant . }}{{ end -}}
{{-   end -}}
{{- end -}}
{{- $total := 0 -}}
{{- range $meant -}}
{{-   $each := addf (divf .rayCpus $cpus) 0.000000001 | floor | int -}}
{{-   if gt $gpus 0.0 }}{{ $each = min $each (addf (divf .rayGpus $gpus) 0.000000001 | floor | int) }}{{ end -}}
{{-   $total = add $total (mul .most $each) -}}
{{- end -}}
{{- if $meant }}{{ $total }}{{ end -}}
{{- end -}}

{{/* What the chart derives from the groups, by the settings' names. */}}
{{- define "saltworks.derived" -}}
{{- $set := .Values.settings -}}
{{- $groups := (include "saltworks.groups" . | fromYaml).groups -}}
{{- $roles := list -}}
{{- range $groups }}{{ $roles = append $roles .role }}{{ end -}}
{{- $derived := dict -}}
{{- with include "saltworks.fitting" (dict "groups" $groups "role" "generate" "cpus" ($set.SALTWORKS_GENERATOR__CPUS_PER_ACTOR | default 1) "gpus" ($set.SALTWORKS_GENERATOR__GPUS_PER_ACTOR | default 0)) -}}
{{-   $_ := set $derived "SALTWORKS_GENERATOR__ACTORS" . -}}
{{- end -}}
{{- with include "saltworks.fitting" (dict "groups" $groups "role" "train" "cpus" ($set.SALTWORKS_SWEEP__CPUS_PER_TRIAL | default 1) "gpus" ($set.SALTWORKS_SWEEP__GPUS_PER_TRIAL | default 0)) -}}
{{-   $_ := set $derived "SALTWORKS_SWEEP__PARALLEL_TRIALS" . -}}
{{- end -}}
{{- if and (has "generate" $roles) (has "train" $roles) -}}
{{-   $_ := set $derived "SALTWORKS_GENERATOR__RESOURCE" "saltworks_generate" -}}
{{-   $_ := set $derived "SALTWORKS_SWEEP__RESOURCE" "saltworks_train" -}}
{{- else if and (has "generate" $roles) (has "cpu" $roles) (not $set.SALTWORKS_SWEEP__GPUS_PER_TRIAL) -}}
{{- /* else trials would sit on GPU pods that are there already, and keep them from being given back */ -}}
{{-   $_ := set $derived "SALTWORKS_SWEEP__RESOURCE" "saltworks_cpu" -}}
{{- end -}}
{{- $derived | toYaml -}}
{{- end -}}
