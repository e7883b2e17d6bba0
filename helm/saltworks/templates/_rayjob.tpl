{{/* The RayJob. Its name ends in a hash of its spec, so a changed spec is a new object and none is ever patched. */}}

{{- define "saltworks.rayjob.spec" -}}
{{- $ := .root -}}
{{- $name := .name -}}
entrypoint: python -m job run
submissionMode: K8sJobMode
backoffLimit: {{ $.Values.retries | int }}
activeDeadlineSeconds: {{ $.Values.deadlines.active | int }}
preRunningDeadlineSeconds: {{ $.Values.deadlines.preRunning | int }}
shutdownAfterJobFinishes: true
ttlSecondsAfterFinished: {{ $.Values.deadlines.ttl | int }}
submitterConfig: {backoffLimit: 1}
submitterPodTemplate:
  {{- include "saltworks.submitter" $ | nindent 2 }}
rayClusterSpec:
  rayVersion: {{ $.Values.rayVersion | quote }}
  authOptions: {mode: token}
  {{- if include "saltworks.autoscales" $ }}
  enableInTreeAutoscaling: true
  autoscalerOptions:
    {{- include "saltworks.autoscaler" $ | nindent 4 }}
  {{- end }}
  headGroupSpec:
    {{- include "saltworks.head" . | nindent 4 }}
  {{- with (include "saltworks.groups" $ | fromYaml).groups }}
  workerGroupSpecs:
    {{- range . }}
    -
      {{- include "saltworks.worker" (dict "root" $ "group" . "name" $name) | nindent 6 }}
    {{- end }}
  {{- end }}
{{- end -}}

{{/* The pod that submits: the operator's own has no security context. Its command is the operator's. */}}
{{- define "saltworks.submitter" -}}
metadata:
  labels:
    {{- include "saltworks.labels" (dict "root" $ "part" "submitter") | nindent 4 }}
  {{- include "saltworks.podAnnotations" (dict "root" $) | nindent 2 }}
spec:
  {{- include "saltworks.podBasics" . | nindent 2 }}
  {{- include "saltworks.smallPlacing" . | nindent 2 }}
  containers:
    - name: ray-job-submitter
      {{- include "saltworks.imageFields" . | nindent 6 }}
      env:
        - {name: HOME, value: /tmp}
        - {name: RAY_USAGE_STATS_ENABLED, value: "0"}
      resources:
        {{- toYaml .Values.submitter.resources | nindent 8 }}
      securityContext:
        {{- include "saltworks.security" . | nindent 8 }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
  volumes:
    - name: tmp
      emptyDir: {sizeLimit: 256Mi}
{{- end -}}

{{- define "saltworks.smallPlacing" -}}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.submitter.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.submitter.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "saltworks.rayjob.labels" -}}
{{- include "saltworks.labels" (dict "root" .) }}
{{- with .Values.kueue.queueName }}
kueue.x-k8s.io/queue-name: {{ . }}
{{- end }}
{{- with .Values.kueue.priorityClass }}
kueue.x-k8s.io/priority-class: {{ . }}
{{- end }}
{{- end -}}

{{/* The RayJob's hash: all of it but its own name. */}}
{{- define "saltworks.rayjob.hash" -}}
{{- $spec := include "saltworks.rayjob.spec" (dict "root" . "name" "") -}}
{{- printf "%s\n%s\n%s" $spec (include "saltworks.rayjob.labels" .) (toYaml .Values.annotations) | sha256sum | trunc 8 -}}
{{- end -}}

{{- define "saltworks.rayjob.name" -}}
{{- if eq (include "saltworks.way" .) "refresh" -}}
{{ include "saltworks.base" . }}
{{- else -}}
{{ include "saltworks.base" . }}-{{ include "saltworks.rayjob.hash" . }}
{{- end -}}
{{- end -}}

{{- define "saltworks.rayjob" -}}
{{- $name := include "saltworks.rayjob.name" . -}}
apiVersion: ray.io/v1
kind: RayJob
metadata:
  name: {{ $name }}
  labels:
    {{- include "saltworks.rayjob.labels" . | nindent 4 }}
    saltworks/spec: {{ include "saltworks.rayjob.hash" . | quote }}
  annotations:
    {{- merge (dict "ray.io/disable-provisioned-head-restart" "true") .Values.annotations | toYaml | nindent 4 }}
spec:
  {{- include "saltworks.rayjob.spec" (dict "root" . "name" $name) | nindent 2 }}
{{- end -}}
