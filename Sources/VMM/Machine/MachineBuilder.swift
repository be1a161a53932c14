// SPDX-License-Identifier: Apache-2.0

internal import Boot
internal import GuestMemory
internal import KVM
internal import Linux
internal import PCI
internal import Passthrough
internal import VFIO

/// A complete machine before its first instruction.
struct MachineBuilder<B: HostBackend> {
  let machine: VirtualMachine
  let memory: GuestMemory
  let cpus: [VirtualCPU]
  let devices: AssignedDevices<B>
  let serial: Serial
  let powerButton: PowerButton
  let root: RootBus<B>
  /// The tasks of the hotplug thread.
  let hotplugQueue: HotplugQueue<B>

  /// Builds a machine. The checks that access no device come first.
  init(
    _ configuration: Configuration, files: HostFiles, eventLog: EventLog,
    output: @escaping @Sendable (UInt8) -> Bool
  ) throws(RunError) {
    let system = try step(RunError.system) { () throws(KVMError) in try files.system() }
    if configuration.cpus > system.cpuLimit {
      throw .host(.cpuCount(configuration.cpus, limit: system.cpuLimit))
    }
    try HostResources().check(configuration)
    let ready = try B.check(configuration.devices, files: files)
    if let problem = DeviceWindows.startProblem(ready, pageSize: configuration.sharableBacking.pageSize) {
      throw .host(problem)
    }
    let reserved = ready.flatMap(\.reserved)
    let memory = try step(RunError.memory) { () throws(GuestMemory.AllocationError) in
      try GuestMemory(
        size: configuration.memory, backing: configuration.sharableBacking, node: configuration.memoryNode,
        holes: reserved, keepsFile: configuration.canHaveServers)
    }
    self.memory = memory
    let features = try step(RunError.kernel) { () throws(KernelError) in
      try CPUFeatures(system, cpus: configuration.cpus, isNested: configuration.isNested)
    }
    let machine: VirtualMachine
    (machine, cpus, serial, powerButton) = try Self.machine(
      system, memory: memory, features: features, count: configuration.cpus, output: output)
    eventLog.phase("machine-made")
    let bootCPU = cpus[0]
    let entry = try step(RunError.boot) { () throws(BootError) in
      try files.loadKernel(
        configuration,
        commandLine: KernelCommandLine.text(configuration.commandLine, frequency: bootCPU.timeStampFrequency),
        memory: memory)
    }
    try step(RunError.kernel) { () throws(KernelError) in
      try bootCPU.setState(entry.initialState)
    }
    eventLog.phase("kernel-loaded")
    self.machine = machine
    let slots = MemorySlots(
      machine, limit: system.memorySlotCount, reserved: memory.regions.count,
      platform: PlatformLayout.trapped)
    let resources = MachineResources(
      machine, slots: slots, routes: InterruptRoutes(machine, limit: system.routeCount))
    devices = try AssignedDevices(
      configuration.devices, ready: ready, machine: machine, resources: resources, memory: memory,
      iommu: configuration.iommu, files: files, ports: configuration.portCount, eventLog: eventLog)
    hotplugQueue = try step(RunError.kernel) { () throws(KernelError) in try HotplugQueue() }
    let window = Self.window64(
      devices, memory: memory, addressBits: features.addressBits, reserved: reserved)
    let placement = try Self.place(devices, configuration, window)
    let ports = try Self.ports(
      devices, configuration, placement, resources: resources, hotplug: hotplugQueue, eventLog: eventLog)
    root = RootBus(
      functions: devices.functions, guestSlots: devices.guestSlots, ports: ports,
      decoder: devices.context?.decoder)
    let (cpuCount, lastBus) = (configuration.cpus, UInt8(ports.count))
    try step(RunError.boot) { () throws(BootError) in
      _ = try ACPI.install(
        Platform(
          cpus: cpuCount, pciWindow64: window, lastBus: lastBus, devices: PortOwner.platformDevices),
        in: memory)
      try ResetVector.install(in: memory)
    }
    eventLog.phase("devices-ready")
  }

  private static func machine(
    _ system: borrowing KVMSystem, memory: GuestMemory, features: CPUFeatures, count: Int,
    output: @escaping @Sendable (UInt8) -> Bool
  ) throws(RunError) -> (VirtualMachine, [VirtualCPU], Serial, PowerButton) {
    do throws(KernelError) {
      let machine = try VirtualMachine(
        system, identityMap: PlatformLayout.identityMap, taskState: PlatformLayout.taskState)
      for (slot, region) in memory.regions.enumerated() {
        try machine.setMemory(
          slot: UInt32(slot), at: region.base, size: region.size, host: region.hostAddress)
      }
      let serial = try Serial(output: output)
      try machine.connect(event: serial.interrupt.number, toInterrupt: Serial.gsi)
      let powerButton = try PowerButton()
      try machine.connect(event: powerButton.interrupt.number, toInterrupt: PlatformLayout.powerButtonGSI)
      var cpus: [VirtualCPU] = []
      for index in 0..<count { cpus.append(try VirtualCPU(machine, index: index, features: features)) }
      return (machine, cpus, serial, powerButton)
    } catch { throw .kernel(error) }
  }
}
