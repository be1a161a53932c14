// SPDX-License-Identifier: Apache-2.0

internal import GuestMemory
internal import Linux
internal import Logging
internal import PCI
internal import Passthrough
internal import Seams

/// A virtual machine with its threads and devices. The guest runs from ``start()`` to ``stop()``. After that,
/// ``release()`` must return the devices to the host.
struct VM<B: HostBackend> {
  let builder: MachineBuilder<B>
  let population: Population<B>
  let hotplug: Hotplug<B>
  private let threads: VMThreads<B>
  private let shutdown: ShutdownRequest
  let eventLog: EventLog

  /// The status of a VM.
  struct Status {
    /// The outcome, or nil if the VM has not ended.
    let outcome: Outcome?
    /// The status of each function.
    let functions: [FunctionStatus]
  }

  /// Creates the threads of a machine. The guest waits for ``start()``.
  init(
    _ builder: MachineBuilder<B>, _ configuration: Configuration, eventLog: EventLog,
    shutdown: ShutdownRequest, control: ControlServer? = nil, connector: Connector? = nil
  ) throws(RunError) {
    self.builder = builder
    population = try step(RunError.kernel) { () throws(KernelError) in
      try Population(builder.devices.functions)
    }
    hotplug = Hotplug(
      builder: builder, population: population, eventLog: eventLog, shutdown: shutdown,
      exchange: control?.exchange, devices: configuration.devices, connector: connector)
    self.eventLog = eventLog
    self.shutdown = shutdown
    let status = MachineStatus(
      population: population, shutdown: shutdown, cpus: configuration.cpus, memory: configuration.memory,
      backend: builder.devices.backend, ports: builder.root.ports)
    threads = try VMThreads(
      builder, configuration, eventLog: eventLog, shutdown: shutdown, server: control, status: status,
      hotplug: hotplug)
  }

  /// The serial port.
  var serial: Serial { builder.serial }

  /// The assigned functions.
  var functions: [AssignedFunction<B>] { population.functions }

  /// The current status.
  var status: Status {
    Status(outcome: shutdown.outcome, functions: functions.map { FunctionStatus($0) })
  }

  /// Confines the calling thread and starts the guest.
  func start() throws(KernelError) { try threads.start() }

  /// The ports.
  var ports: [Port<B>] { builder.root.ports }

  /// Handles a notification from the host's kernel about a device. A failure ends the VM.
  ///
  /// - Parameters:
  ///   - notification: The notification.
  ///   - number: The number of the function in ``population``.
  func handle(_ notification: DeviceNotification, of number: Int) {
    guard let function = population.function(number) else { return }
    do throws(FunctionError) {
      if let port = port(of: function) {
        switch notification {
        case .error: try port.handleError(of: function)
        case .request: if try function.take(.request) { try port.requestRemoval() }
        }
      } else {
        try function.handle(notification)
      }
    } catch { shutdown.end(.failure(.function(error))) }
  }

  /// The time in microseconds on the clock at which the VM must call ``act(at:)``, or nil.
  var deadline: Int64? { ports.compactMap(\.deadline).min() }

  /// Inserts devices whose slot is quiet again, and removes devices that the guest has not released in time. A failure
  /// ends the VM.
  func act(at time: Int64) {
    for port in ports {
      do throws(FunctionError) { try port.act(at: time) } catch {
        shutdown.end(.failure(.function(error)))
      }
    }
  }

  /// Returns the last function with an address, which the VM still has.
  ///
  /// - Parameters:
  ///   - address: The device's address on the host.
  ///   - verb: The operation that needs it.
  func member(_ address: String, _ verb: ControlRequest.Verb) throws(ControlError) -> AssignedFunction<B> {
    guard let function = functions.last(where: { $0.address == address }) else {
      throw .noDevice(address, verb)
    }
    guard function.isOpen else { throw .released(device: address, verb) }
    return function
  }

  /// The port of a function, or nil if the function is on the root bus.
  func port(of function: AssignedFunction<B>) -> Port<B>? { ports.first { $0.has(function) } }

  /// Removes a function from the guest. A function on the root bus is returned to the host. A function behind a port leaves
  /// when the guest has released it, or after a time. A failure of the operation itself ends the VM.
  func remove(_ function: AssignedFunction<B>, within seconds: Int?) throws(ControlError) {
    do throws(FunctionError) {
      if let port = port(of: function) {
        try port.requestRemoval(within: seconds)
      } else {
        try function.remove()
      }
    } catch {
      shutdown.end(.failure(.function(error)))
      throw .failed(error, .remove)
    }
  }

  /// Reports an error of a device behind a port to the guest. A failure of the operation itself ends the VM.
  func inject(_ error: InjectedError, _ address: String) throws(ControlError) {
    let function = try member(address, .inject)
    guard let port = ports.first(where: { $0.function === function }) else {
      throw .noPort(device: address, .inject)
    }
    do throws(FunctionError) {
      switch error {
      case .correctable: port.report(.correctable)
      case .nonFatal: port.report(.nonFatal)
      case .fatal: try port.contain()
      }
    } catch {
      shutdown.end(.failure(.function(error)))
      throw .failed(error, .inject)
    }
  }

  /// Presses the guest's power button.
  ///
  /// - Parameter time: The time in microseconds that the guest gets to power off.
  func pressPowerButton(within time: Int64) {
    builder.powerButton.press()
    eventLog.stopWaits(time)
  }

  /// Stops all vCPUs permanently.
  func stop() {
    for function in functions { function.stopWaiting() }
    threads.stop()
  }

  /// Sends the last events to the clients of the control socket and closes their connections.
  func endControl() { threads.endControl() }

  /// Closes the gates, returns the devices to the host and frees guest RAM. No vCPU may run.
  ///
  /// - Returns: The failures.
  func release() -> [FunctionError] {
    var failures: [FunctionError] = []
    for function in functions {
      do throws(FunctionError) { try function.quiesce() } catch { failures.append(error) }
    }
    let added = functions.dropFirst(builder.devices.functions.count)
    return failures + threads.releaseDevices(Array(added), during: freeMemory)
  }

  /// Unpins and frees guest RAM. The devices are no longer bus masters. If a device's gate could not be
  /// closed, the IOMMU blocks its DMA.
  private func freeMemory() {
    func warn(_ cause: String) {
      eventLog.log.warning("guest RAM: not freed before the process ends: \(cause)")
    }
    do throws(OperationError) { try builder.devices.dma?.unpinMemory(unmapped: eventLog.unpinned) } catch {
      return warn(error.description)
    }
    do throws(KernelError) { try builder.memory.discard() } catch { warn(error.description) }
  }
}

/// The status of one function.
struct FunctionStatus {
  /// The device's address on the host.
  let address: String
  let statistics: FunctionStatistics
  let presence: FunctionPresence

  init(_ function: AssignedFunction<some Backend>) {
    address = function.address
    statistics = function.statistics
    presence = function.presence
  }
}
