// SPDX-License-Identifier: Apache-2.0

internal import Passthrough
internal import Trace

/// The status of a VM for a client of the control socket. Any thread may read it.
struct MachineStatus<B: HostBackend>: Sendable {
  let population: Population<B>
  let shutdown: ShutdownRequest
  let cpus: Int
  /// The size of guest RAM in bytes.
  let memory: UInt64
  /// The backend of the devices, or nil if the VM can have no device.
  let backend: B?
  let ports: [Port<B>]

  /// The fields of the reply.
  var fields: ControlFields {
    var fields = ControlFields()
    let (outcome, functions) = (shutdown.outcome, population.functions)
    fields.put("state", outcome == nil ? "running" : "ending")
    if let outcome { fields.put("outcome", outcome.name) }
    fields.put("vcpus", cpus)
    fields.put("memory", memory)
    if let backend {
      if let choice = backend.choice { fields.put("iommu", choice.interface.rawValue) }
      fields.put("groups", backend.groups.joined(separator: " "))
    }
    fields.put("ports", ports.count)
    for (index, port) in ports.enumerated() {
      fields.put("port\(index)", port.slot)
      fields.put("port\(index).device", port.function?.address ?? "")
    }
    fields.put("devices", functions.count)
    for (index, function) in functions.enumerated() {
      let one = FunctionStatus(function)
      let name = "device\(index)"
      fields.put(name, one.address)
      fields.put("\(name).state", one.presence.rawValue)
      fields.put("\(name).windows", one.statistics.windows)
      fields.put("\(name).opened", one.statistics.windowsOpened)
      fields.put("\(name).slots", one.statistics.slotsAdded)
      fields.put("\(name).mapped", one.statistics.bytesMapped)
      fields.put("\(name).trapped", one.statistics.trappedAccesses)
      fields.put("\(name).denied", one.statistics.deniedAccesses)
      fields.put("\(name).closes", one.statistics.closes)
      fields.put("\(name).vectors", one.statistics.vectors)
      fields.put("\(name).used", one.statistics.vectorsUsed)
    }
    return fields
  }
}
