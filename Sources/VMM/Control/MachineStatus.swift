// SPDX-License-Identifier: Apache-2.0

internal import Passthrough

/// The status of a VM for a client of the control socket. Any thread may read it.
struct MachineStatus<B: HostBackend>: Sendable {
  let population: Population<B>
  let shutdown: ShutdownRequest
  let cpus: Int
  /// The size of guest RAM in bytes.
  let memory: UInt64

  /// The fields of the reply.
  var fields: ControlFields {
    var fields = ControlFields()
    let (outcome, functions) = (shutdown.outcome, population.functions)
    fields.put("state", outcome == nil ? "running" : "ending")
    if let outcome { fields.put("outcome", outcome.name) }
    fields.put("vcpus", cpus)
    fields.put("memory", memory)
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
