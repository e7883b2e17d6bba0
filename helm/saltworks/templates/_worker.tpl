{{/* One worker group: (dict "root" $ "group" group-with-defaults "name" name-of-the-RayJob). */}}
{{- define "saltworks.worker" -}}
{{- $ := .root -}}
{{- $group := .group -}}
{{- $scales := include "saltworks.autoscales" $ -}}
groupName: {{ $group.name }}
replicas: {{ ternary $group.minReplicas $group.replicas (not (empty $scales)) | int }}
minReplicas: {{ ternary $group.minReplicas $group.replicas (not (empty $scales)) | int }}
maxReplicas: {{ $group.most | int }}
rayStartParams:
  object-store-memory: {{ include "saltworks.objectStore" $group.shmSize | quote }}
  num-cpus: {{ $group.rayCpus | int | quote }}
  num-gpus: {{ $group.rayGpus | toJson | quote }}   {{- /* always: Ray's autoscaler counts only limits that end in gpu */}}
  resources: {{ printf "'%s'" (dict (printf "saltworks_%s" $group.role) 1 | toJson) | quote }}
template:
  metadata:
    labels:
      {{- include "saltworks.labels" (dict "root" $ "part" "worker" "spot" $group.spot) | nindent 6 }}
      saltworks/role: {{ $group.role }}
    {{- include "saltworks.podAnnotations" (dict "root" $ "own" $group.annotations) | nindent 4 }}
  spec:
    {{- include "saltworks.podBasics" $ | nindent 4 }}
    serviceAccountName: {{ include "saltworks.account" (dict "root" $ "part" "worker") }}
    terminationGracePeriodSeconds: {{ add $.Values.deadlines.stopGrace 15 }}
    {{- with $group.priorityClassName | default $.Values.priorityClassName }}
    priorityClassName: {{ . }}
    {{- end }}
    {{- with $group.runtimeClassName }}
    runtimeClassName: {{ . }}
    {{- end }}
    {{- with $group.nodeSelector }}
    nodeSelector:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- if or $group.tolerations $group.gpus $group.spot }}
    tolerations:
      {{- with $group.tolerations }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
      {{- if $group.gpus }}
      - {key: {{ $group.gpuResource }}, operator: Exists, effect: NoSchedule}
      {{- if and (hasPrefix "nvidia.com/" $group.gpuResource) (ne $group.gpuResource "nvidia.com/gpu") }}
      - {key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}   {{- /* slices and shares lie on nodes that are tainted so */}}
      {{- end }}
      {{- end }}
      {{- if $group.spot }}
      - {key: cloud.google.com/gke-spot, operator: Equal, value: "true", effect: NoSchedule}
      - {key: kubernetes.azure.com/scalesetpriority, operator: Equal, value: spot, effect: NoSchedule}
      {{- end }}
    {{- end }}
    {{- if $group.affinity }}
    affinity:
      {{- toYaml $group.affinity | nindent 6 }}
    {{- else if $group.spot }}
    affinity:
      nodeAffinity:
        requiredDuringSchedulingIgnoredDuringExecution:
          nodeSelectorTerms:
            {{- range $key, $value := include "saltworks.spotNodes" $ | fromYaml }}
            - matchExpressions: [{key: {{ $key }}, operator: In, values: [{{ $value | quote }}]}]
            {{- end }}
    {{- end }}
    {{- with $group.topologySpreadConstraints }}
    topologySpreadConstraints:
      {{- $these := merge (dict "ray.io/group" $group.name) (include "saltworks.selector" $ | fromYaml) }}
      {{- range . }}
      -
        {{- merge (deepCopy .) (dict "labelSelector" (dict "matchLabels" $these)) | toYaml | nindent 8 }}
      {{- end }}
    {{- end }}
    containers:
      - name: ray-worker
        {{- include "saltworks.imageFields" $ | nindent 8 }}
        ports:
          - {name: metrics, containerPort: 8080}
        env:
          {{- include "saltworks.env" $ | nindent 10 }}
          - {name: SALTWORKS_SUBMISSION, value: {{ .name | quote }}}
        envFrom:
          {{- include "saltworks.envFrom" $ | nindent 10 }}
        {{- include "saltworks.lifecycle" $ | nindent 8 }}
        {{- $resources := deepCopy $group.resources }}
        {{- if $group.gpus }}
        {{- range list "requests" "limits" }}
        {{- $_ := set $resources . (merge (dict $group.gpuResource (toString (int $group.gpus))) (get $resources . | default dict)) }}
        {{- end }}
        {{- end }}
        resources:
          {{- toYaml $resources | nindent 10 }}
        securityContext:
          {{- include "saltworks.security" $ | nindent 10 }}
        volumeMounts:
          {{- include "saltworks.mounts" $ | nindent 10 }}
          - {name: shm, mountPath: /dev/shm}
    volumes:
      {{- include "saltworks.volumes" (dict "root" $ "tmp" $group.tmpSize "resources" $group.resources) | nindent 6 }}
      {{- include "saltworks.shm" $group.shmSize | nindent 6 }}
{{- end -}}
